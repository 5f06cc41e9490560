package openssh

import (
	"path/filepath"
	"slices"
	"strings"
)

// Options of the ssh program that change nothing here.
var harmless = map[string]bool{"-q": true, "-v": true, "-T": true, "-x": true, "-a": true, "-n": true}

// Keywords that are followed, and those that change nothing here.
var (
	followed = []string{"identityfile", "identitiesonly", "identityagent", "userknownhostsfile", "globalknownhostsfile",
		"hostkeyalias", "stricthostkeychecking", "port", "user", "hostname"}
	unneeded = []string{"checkhostip", "batchmode", "connecttimeout", "serveraliveinterval", "serveralivecountmax", "loglevel",
		"passwordauthentication", "kbdinteractiveauthentication", "preferredauthentications", "controlmaster", "controlpath",
		"controlpersist", "forwardagent", "updatehostkeys", "hashknownhosts", "requesttty", "compression"}
)

// readCommand follows the options of an ssh command line, as git's core.sshCommand holds it. It is the other
// configuration file that -F names, and what was not followed.
func (c *config) readCommand(command string, getenv func(string) string) (file string, unfollowed []string) {
	words, ok := shellWords(command, getenv)
	if !ok || len(words) == 0 {
		return "", []string{"a command with more than ssh and its options"}
	}
	if program := filepath.Base(words[0]); program != "ssh" {
		return "", []string{"the program " + program}
	}
	for words = words[1:]; len(words) > 0; words = words[1:] {
		flag, value := words[0], ""
		if harmless[flag] {
			continue
		}
		if len(flag) < 2 || flag[0] != '-' || !strings.ContainsRune("ipoFl", rune(flag[1])) {
			unfollowed = append(unfollowed, flag)
			continue
		}
		if flag, value = flag[:2], flag[2:]; value == "" && len(words) > 1 {
			value, words = words[1], words[1:]
		}
		switch flag {
		case "-i":
			c.add("identityfile", value)
		case "-p":
			c.add("port", value)
		case "-l":
			c.add("user", value)
		case "-F":
			file = c.expand(value)
		case "-o":
			keyword, values := splitLine(value)
			if slices.Contains(followed, keyword) {
				c.add(keyword, values...)
			} else if !slices.Contains(unneeded, keyword) {
				unfollowed = append(unfollowed, "-o "+keyword)
			}
		}
	}
	return file, unfollowed
}

// shellWords splits a command line as a shell does, with variables and ~/ for the home folder. It is not ok when there
// is more to the line: another command, a substitution, a redirection.
func shellWords(line string, getenv func(string) string) (words []string, ok bool) {
	var word strings.Builder
	started := false
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == ' ' || c == '\t' || c == '\n':
			if started {
				words = append(words, word.String())
			}
			word.Reset()
			started = false
			continue
		case c == '\'':
			text, _, closed := strings.Cut(line[i+1:], "'")
			if !closed {
				return nil, false
			}
			word.WriteString(text)
			i += len(text) + 1
		case c == '"':
			n := quotedText(line[i+1:], getenv, &word)
			if n < 0 {
				return nil, false
			}
			i += n
		case c == '\\' && i+1 < len(line):
			i++
			word.WriteByte(line[i])
		case c == '$':
			n := variable(line[i:], getenv, &word)
			if n < 0 {
				return nil, false
			}
			i += n - 1
		case c == '~' && !started && strings.HasPrefix(line[i:], "~/"):
			word.WriteString(getenv("HOME"))
		case strings.IndexByte("|&;<>()`#", c) >= 0:
			return nil, false
		default:
			word.WriteByte(c)
		}
		started = true
	}
	if started {
		words = append(words, word.String())
	}
	return words, true
}

// quotedText writes what is before the closing double quote, and is how many bytes that took, or -1.
func quotedText(line string, getenv func(string) string, word *strings.Builder) int {
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c == '"':
			return i + 1
		case c == '`':
			return -1
		case c == '\\' && i+1 < len(line) && strings.IndexByte("\\\"$`", line[i+1]) >= 0:
			i++
			word.WriteByte(line[i])
		case c == '$':
			n := variable(line[i:], getenv, word)
			if n < 0 {
				return -1
			}
			i += n - 1
		default:
			word.WriteByte(c)
		}
	}
	return -1
}

// variable writes the value of the $NAME or ${NAME} that text begins with, and is how many bytes that took, or -1.
func variable(text string, getenv func(string) string, word *strings.Builder) int {
	name, braces := strings.CutPrefix(text[1:], "{")
	n := 0
	for n < len(name) && (name[n] == '_' || name[n] >= '0' && name[n] <= '9' || name[n]|0x20 >= 'a' && name[n]|0x20 <= 'z') {
		n++
	}
	switch {
	case n == 0:
		return -1
	case braces && !strings.HasPrefix(name[n:], "}"):
		return -1
	}
	word.WriteString(getenv(name[:n]))
	if braces {
		return n + 3
	}
	return n + 1
}
