package imageref

import (
	"errors"
	"fmt"
	"strings"
)

// ErrUpperCase is the cause when a repository has upper-case letters; the OCI distribution specification allows none.
var ErrUpperCase = errors.New("a repository is lower case")

// ErrLogin is what Parse refuses before a reference; the error does not show it.
var ErrLogin = errors.New("there is a login before it, which is not shown here: a reference has none")

const (
	lower  = "abcdefghijklmnopqrstuvwxyz"
	upper  = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
	digits = "0123456789"
)

// checkComponent holds one path component against the distribution grammar:
// runs of [a-z0-9] joined by ".", "_", "__" or any number of "-".
func checkComponent(s string) error {
	if s == "" {
		return errors.New("the repository has an empty component")
	}
	if strings.ContainsAny(s, upper) {
		return fmt.Errorf("%w, %q is not", ErrUpperCase, s)
	}
	run := func(s string) string { return strings.TrimLeft(s, lower+digits) }
	rest := run(s)
	ok := len(rest) < len(s)
	for ok && rest != "" {
		next := separator(rest)
		ok = len(next) < len(rest)
		rest = run(next)
		ok = ok && len(rest) < len(next)
	}
	if !ok {
		return fmt.Errorf("%q is no repository component (lower-case letters and digits, joined by one of . _ __ -)", s)
	}
	return nil
}

// separator is s without the separator that it starts with.
func separator(s string) string {
	switch {
	case strings.HasPrefix(s, "__"):
		return s[2:]
	case s[0] == '_', s[0] == '.':
		return s[1:]
	}
	return strings.TrimLeft(s, "-")
}

// checkRegistry accepts host[:port] and [ipv6]:port.
func checkRegistry(s string) error {
	host, port, hasPort := s, "", false
	if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
		host, port, hasPort = s[:i], s[i+1:], true
	}
	if hasPort && (port == "" || strings.Trim(port, digits) != "") {
		return fmt.Errorf("%q is no port", port)
	}
	if strings.HasPrefix(host, "[") {
		if inner := strings.TrimSuffix(host[1:], "]"); len(inner) == len(host)-2 && inner != "" && strings.Trim(inner, digits+"abcdefABCDEF:") == "" {
			return nil
		}
		return fmt.Errorf("%q is no IPv6 address", host)
	}
	for label := range strings.SplitSeq(host, ".") {
		if label == "" || strings.Trim(label, lower+upper+digits+"-") != "" || label[0] == '-' || label[len(label)-1] == '-' {
			return fmt.Errorf("%q is no registry host", host)
		}
	}
	return nil
}

// checkTag holds a tag against [\w][\w.-]{0,127}.
func checkTag(s string) error {
	word := lower + upper + digits + "_"
	switch {
	case s == "":
		return errors.New("the tag is empty")
	case len(s) > maxTag:
		return fmt.Errorf("the tag is longer than %d characters", maxTag)
	case !strings.ContainsRune(word, rune(s[0])), strings.Trim(s, word+".-") != "":
		return fmt.Errorf("%q is no tag (letters, digits, _ . -, not starting with . or -)", s)
	}
	return nil
}

// digestHex is the number of hex digits of each algorithm registered by the OCI image specification.
var digestHex = map[string]int{"sha256": 64, "sha384": 96, "sha512": 128}

func checkDigest(s string) error {
	algorithm, hex, _ := strings.Cut(s, ":")
	want, known := digestHex[algorithm]
	switch {
	case !known:
		return fmt.Errorf("%q is no digest (sha256: and 64 hex digits)", s)
	case len(hex) != want || strings.Trim(hex, digits+"abcdef") != "":
		return fmt.Errorf("%q is no digest (%s: and %d lower-case hex digits)", s, algorithm, want)
	}
	return nil
}
