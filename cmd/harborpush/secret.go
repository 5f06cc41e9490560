package main

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"strings"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
)

// secretsVariable holds secrets of their own, for an action whose input they are.
const secretsVariable = "HARBORPUSH_SECRETS"

const secretEnvironment = "  " + secretsVariable + ` secrets beside those of --secret, ID=VALUE a line; "ID=VALUE" may have several
`

// maxSecret is how large a secret may be, in bytes: BuildKit's limit.
const maxSecret = 500 << 10

// readSecrets reads the secrets that flags and environment name. They are masked in the log of a workflow.
func readSecrets(c *cli.Console, typed []string) (map[string][]byte, error) {
	secrets, err := parseSecrets(c.Getenv(secretsVariable))
	if err != nil {
		return nil, err
	}
	for _, s := range typed {
		id, value, err := readSecret(c, s)
		if err != nil {
			return nil, err
		}
		secrets[id] = value
	}
	for _, value := range secrets {
		c.Workflow.Mask(string(value))
	}
	return secrets, nil
}

// lookup finds a secret by its id.
func lookup(secrets map[string][]byte) func(id string) ([]byte, bool) {
	return func(id string) ([]byte, bool) {
		value, ok := secrets[id]
		return value, ok
	}
}

// gitToken is the secret that BuildKit takes for git servers: GIT_AUTH_TOKEN.HOST, and GIT_AUTH_TOKEN for that of the context.
func gitToken(secrets map[string][]byte, context string) func(host string) string {
	own := ""
	if u, err := url.Parse(context); err == nil {
		own = u.Host
	}
	return func(host string) string {
		if value, ok := secrets["GIT_AUTH_TOKEN."+host]; ok {
			return strings.TrimSpace(string(value))
		}
		if host != own {
			return ""
		}
		return strings.TrimSpace(string(secrets["GIT_AUTH_TOKEN"]))
	}
}

const secretHint = "for example: --secret id=token,env=TOKEN or --secret id=token,src=./token"

// readSecret reads a secret as docker buildx does: id=ID[,src=FILE|,env=VARIABLE]. With neither it is that of a variable called
// ID, else of a file called ID.
func readSecret(c *cli.Console, typed string) (id string, value []byte, err error) {
	fields := map[string]string{}
	list, err := csv.NewReader(strings.NewReader(typed)).Read()
	if err != nil {
		return "", nil, fault.Usagef(secretHint, "--secret: it is no list with commas")
	}
	for _, field := range list {
		key, value, found := strings.Cut(field, "=")
		key = strings.ToLower(strings.TrimSpace(key))
		if key == "source" {
			key = "src"
		}
		if _, known := map[string]bool{"id": true, "src": true, "env": true, "type": true}[key]; !known || !found {
			return "", nil, fault.Usagef(secretHint, "--secret: there is a field beside id, src, env and type") // which may be a secret
		}
		fields[key] = value
	}
	id, file, variable := fields["id"], fields["src"], fields["env"]
	switch kind := fields["type"]; {
	case kind != "" && kind != "file" && kind != "env":
		return "", nil, fault.Usagef(secretHint, "--secret id=%s: type is file or env", id)
	case kind == "env" && variable == "":
		file, variable = "", file
	}
	if variable == "" && file == "" {
		if c.Getenv(id) != "" {
			variable = id
		} else {
			file = id
		}
	}
	switch {
	case id == "":
		return "", nil, fault.Usagef(secretHint, "--secret names no id")
	case variable != "" && file != "":
		return "", nil, fault.Usagef(secretHint, "--secret id=%s: it is of a file or of a variable", id)
	case variable != "" && c.Getenv(variable) == "":
		return "", nil, fault.Usagef("set it, or leave the secret out", "--secret id=%s: the variable %s is empty", id, variable)
	case variable != "":
		value = []byte(c.Getenv(variable))
	default:
		value, err = readSecretFile(id, file)
	}
	if err == nil && len(value) > maxSecret {
		err = fault.Usagef("mount a folder instead", "--secret id=%s has more than %d bytes", id, maxSecret)
	}
	return id, value, err
}

func readSecretFile(id, file string) ([]byte, error) {
	f, err := os.Open(file)
	if err == nil {
		defer f.Close()
		var value []byte
		if value, err = io.ReadAll(io.LimitReader(f, maxSecret+1)); err == nil {
			return value, nil
		}
	}
	return nil, &fault.Error{Kind: fault.Usage, What: "read the secret", Where: id, Err: fmt.Errorf("%s: %w", file, fault.Cause(err)), Hint: secretHint}
}

// parseSecrets reads ID=VALUE, one a line. One in double quotes may have several lines, and has "" for a quote, as
// docker/build-push-action writes it.
func parseSecrets(text string) (map[string][]byte, error) {
	secrets := map[string][]byte{}
	for number := 1; text != ""; number++ {
		var record string
		record, text, _ = strings.Cut(text, "\n")
		record = strings.TrimSuffix(record, "\r")
		if quoted, ok := strings.CutPrefix(record, `"`); ok {
			var err error
			if record, text, err = unquoted(quoted + "\n" + text); err != nil {
				return nil, fault.Usagef("a quote in a value is written twice", "%s: secret %d %w", secretsVariable, number, err)
			}
		}
		if strings.TrimSpace(record) == "" {
			continue
		}
		id, value, ok := strings.Cut(record, "=")
		if id = strings.TrimSpace(id); !ok || id == "" {
			return nil, fault.Usagef("write ID=VALUE, one a line", "%s: secret %d has no ID", secretsVariable, number)
		}
		secrets[id] = []byte(value)
	}
	return secrets, nil
}

// unquoted is the text up to the closing quote, and what comes after its line.
func unquoted(text string) (record, rest string, err error) {
	var b strings.Builder
	for {
		before, after, ok := strings.Cut(text, `"`)
		b.WriteString(before)
		switch {
		case !ok:
			return "", "", errors.New("has no closing quote")
		case strings.HasPrefix(after, `"`):
			b.WriteByte('"')
			text = after[1:]
		default:
			tail, rest, _ := strings.Cut(after, "\n")
			if strings.TrimSpace(tail) != "" {
				return "", "", errors.New("goes on after its closing quote")
			}
			return b.String(), rest, nil
		}
	}
}
