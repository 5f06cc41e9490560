package main

import (
	"bytes"
	"errors"
	"os"

	"github.com/ksera524/imgbump/internal/fault"
)

// secretIn is what the file of a flag holds, without the end of its line.
func secretIn(flag, file string) (string, error) {
	data, err := os.ReadFile(file)
	if err == nil && len(bytes.TrimSpace(data)) == 0 {
		err = errors.New("it is empty")
	}
	if err != nil {
		return "", &fault.Error{Kind: fault.Usage, What: flag, Where: file, Hint: "it holds the secret and nothing else", Err: fault.Cause(err)}
	}
	return string(bytes.TrimRight(data, "\r\n")), nil
}
