package repo

import (
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// netrc finds a server's login in the file that curl, and so git, would read: NETRC's, else ~/.netrc or ~/_netrc.
func (r *Repo) netrc(remote *url.URL) (login, bool) {
	home := r.options.Getenv("HOME")
	files := []string{filepath.Join(home, ".netrc"), filepath.Join(home, "_netrc")}
	if file := r.options.Getenv("NETRC"); file != "" {
		files = []string{file}
	}
	for _, file := range files {
		if !filepath.IsAbs(file) { // somebody may have committed it
			continue
		}
		data, err := os.ReadFile(file)
		if err != nil {
			continue
		}
		user, password, found := readNetrc(string(data), remote.Hostname(), remote.User.Username())
		if !found {
			return login{}, false
		}
		r.mask(password)
		return login{header: basic(user, password), origin: "the login for " + remote.Hostname() + " in " + file, replaceable: true}, true
	}
	return login{}, false
}

// readNetrc finds the first entry for a host, and for a user unless that is "". An entry "default" is for every host.
func readNetrc(text, host, wanted string) (user, password string, found bool) {
	tokens := netrcTokens(text)
	matches := false
	done := func() bool { return matches && password != "" && (wanted == "" || wanted == user) }
	for i := 0; i < len(tokens); i++ {
		next := func() string {
			if i++; i < len(tokens) {
				return tokens[i]
			}
			return ""
		}
		switch tokens[i] {
		case "machine", "default":
			if done() {
				return user, password, true
			}
			user, password = wanted, ""
			matches = tokens[i] == "default" || strings.EqualFold(next(), host)
		case "login":
			user = next()
		case "password":
			password = next()
		case "account":
			next()
		}
	}
	return user, password, done()
}

// netrcTokens are the words of a file, which may be quoted, without comments and macro definitions.
func netrcTokens(text string) []string {
	var tokens []string
	inMacro := false
	for line := range strings.Lines(text) {
		s := scanner{strings.TrimSpace(line)}
		if inMacro = inMacro && s.rest != ""; inMacro {
			continue
		}
		for s.rest != "" && s.rest[0] != '#' {
			word := ""
			if s.rest[0] == '"' {
				s.rest = s.rest[1:]
				word = s.quoted()
			} else {
				word = s.take(func(c byte) bool { return c != ' ' && c != '\t' })
			}
			if inMacro = word == "macdef"; inMacro {
				break
			}
			tokens = append(tokens, word)
			s.skip(" \t")
		}
	}
	return tokens
}
