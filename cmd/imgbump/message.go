package main

import (
	"io"
	"os"
	"strings"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/spf13/pflag"
)

// messageFlags say what a commit's message says.
type messageFlags struct {
	text     string
	file     string
	trailers []string
	message  bump.Message // by check
}

func (f *messageFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.text, "message", "", "commit message, a Go `TEMPLATE` over .Summary, .Files and .Images (docs/commits.md has all)")
	flags.StringVar(&f.file, "message-file", "", "`FILE` with the template of the commit message")
	flags.StringArrayVar(&f.trailers, "trailer", nil, "end the message with `'KEY: VALUE'` (repeatable)")
}

// check reads the template, so that it is known to be one before anything is done.
func (f *messageFlags) check() error {
	text := f.text
	if f.file != "" {
		if text != "" {
			return fault.Usagef("name one of them", "--message and --message-file both say what the commit says")
		}
		var err error
		if text, err = readTemplate(f.file); err != nil {
			return &fault.Error{Kind: fault.Usage, What: "--message-file", Where: f.file, Hint: "name a file with the template; stdin is not read", Err: fault.Cause(err)}
		}
		if strings.TrimSpace(text) == "" {
			return fault.Usagef("leave it away for the default message", "--message-file %s is empty", f.file)
		}
	}
	var err error
	f.message, err = bump.ParseMessage(text, f.trailers...)
	return err
}

func readTemplate(name string) (string, error) {
	file, err := os.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	data, err := io.ReadAll(io.LimitReader(file, 1<<20))
	return string(data), err
}
