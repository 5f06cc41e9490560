package openssh

import (
	"cmp"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// config is what holds for one server, in OpenSSH's order: the first value of a keyword counts (ssh_config(5)).
type config struct {
	host    string // as the address has it
	home    string
	asked   string // the file of known hosts that was asked for
	options []option
}

type option struct {
	keyword string // lower case
	values  []string
}

// readConfig collects what was asked for, then the address, the user's file and the system's.
func readConfig(address Address, options Options) (*config, error) {
	c := &config{host: address.Host, home: options.Getenv("HOME")}
	if options.KnownHosts != "" {
		var err error
		if c.asked, err = filepath.Abs(options.KnownHosts); err != nil {
			return nil, err
		}
		c.add("userknownhostsfile", strings.ReplaceAll(c.asked, "%", "%%"))
		c.add("globalknownhostsfile", "none")
	}
	files := []string{c.expand("~/.ssh/config"), "/etc/ssh/ssh_config"}
	if options.Command != "" {
		other, unfollowed := c.readCommand(options.Command, options.Getenv)
		if other != "" {
			files = []string{other}
		}
		for _, what := range unfollowed {
			options.Warn("git's SSH command: " + what + " is not followed")
		}
	}
	c.add("port", address.Port)
	c.add("user", address.User)
	for _, file := range files {
		if filepath.IsAbs(file) {
			c.read(file, 0)
		}
	}
	for _, keyword := range []string{"proxyjump", "proxycommand"} {
		if value := c.value(keyword); value != "" && value != "none" {
			options.Warn(fmt.Sprintf("SSH's configuration: %s is not followed, %s is connected to itself", keyword, c.host))
		}
	}
	return c, nil
}

// add takes a value of a keyword; empty ones do not count.
func (c *config) add(keyword string, values ...string) {
	if len(values) > 0 && values[0] != "" {
		c.options = append(c.options, option{strings.ToLower(keyword), values})
	}
}

// values are those of a keyword's first line.
func (c *config) values(keyword string) []string {
	for _, o := range c.options {
		if o.keyword == keyword {
			return o.values
		}
	}
	return nil
}

func (c *config) value(keyword string) string {
	if values := c.values(keyword); len(values) > 0 {
		return values[0]
	}
	return ""
}

// yes reports whether a keyword is switched on.
func (c *config) yes(keyword string) bool { return strings.EqualFold(c.value(keyword), "yes") }

// hostName is the name to connect to.
func (c *config) hostName() string {
	name := strings.NewReplacer("%h", c.host, "%n", c.host, "%%", "%").Replace(c.value("hostname"))
	return cmp.Or(name, c.host)
}

const deepest = 16 // includes within includes, as in OpenSSH

// read takes the lines of a file that hold for the host. One that cannot be read is passed over, as is what cannot be
// understood: the ssh program complains about it.
func (c *config) read(file string, depth int) {
	data, err := os.ReadFile(file)
	if err != nil || depth > deepest {
		return
	}
	holds := true
	for line := range strings.Lines(string(data)) {
		keyword, values := splitLine(line)
		switch {
		case keyword == "" || len(values) == 0:
		case keyword == "host":
			holds = matchAny(values, c.host)
		case keyword == "match":
			holds = c.match(values)
		case !holds:
		case keyword == "include":
			for _, pattern := range values {
				c.include(pattern, filepath.Dir(file), depth+1)
			}
		default:
			c.add(keyword, values...)
		}
	}
}

func (c *config) include(pattern, dir string, depth int) {
	if pattern = c.expand(pattern); !filepath.IsAbs(pattern) {
		pattern = filepath.Join(dir, pattern)
	}
	files, _ := filepath.Glob(pattern)
	for _, file := range files {
		c.read(file, depth)
	}
}

// match decides the conditions that the host alone settles. Others never hold; exec would run a program.
func (c *config) match(conditions []string) bool {
	switch {
	case len(conditions) == 1:
		return strings.EqualFold(conditions[0], "all")
	case len(conditions) != 2:
		return false
	case strings.EqualFold(conditions[0], "host"):
		return matchAny(strings.Split(conditions[1], ","), c.hostName())
	case strings.EqualFold(conditions[0], "originalhost"):
		return matchAny(strings.Split(conditions[1], ","), c.host)
	}
	return false
}

// splitLine is a line's keyword, in lower case, and its values: `Keyword value "quoted value"` or `Keyword=value`.
func splitLine(line string) (keyword string, values []string) {
	line = strings.TrimSpace(line)
	if strings.HasPrefix(line, "#") {
		return "", nil
	}
	end := strings.IndexAny(line, " \t=")
	if end < 0 {
		return "", nil
	}
	keyword, line = strings.ToLower(line[:end]), strings.TrimLeft(line[end:], " \t")
	line = strings.TrimLeft(strings.TrimPrefix(line, "="), " \t")
	for line != "" && line[0] != '#' {
		var value string
		if quoted, ok := strings.CutPrefix(line, `"`); ok {
			value, line, _ = strings.Cut(quoted, `"`)
		} else if end := strings.IndexAny(line, " \t"); end >= 0 {
			value, line = line[:end], line[end:]
		} else {
			value, line = line, ""
		}
		values, line = append(values, value), strings.TrimLeft(line, " \t")
	}
	return keyword, values
}

// files are the paths of a keyword, with ~ and %-tokens expanded. What is not absolute then is left out: it could be a
// file of the repository. "none" is no file.
func (c *config) files(values ...string) []string {
	var files []string
	for _, value := range values {
		if file := c.expand(value); filepath.IsAbs(file) && !slices.Contains(files, file) {
			files = append(files, file)
		}
	}
	return files
}

func (c *config) expand(path string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok && c.home != "" {
		path = c.home + "/" + rest
	}
	return strings.NewReplacer("%d", c.home, "%h", c.hostName(), "%n", c.host, "%p", cmp.Or(c.value("port"), "22"),
		"%r", cmp.Or(c.value("user"), localUser()), "%u", localUser(), "%%", "%").Replace(path)
}

// matchAny reports whether a host is in a list of patterns (ssh_config(5), PATTERNS): one matches, and none that begins
// with "!" does.
func matchAny(patterns []string, host string) bool {
	found := false
	for _, pattern := range patterns {
		positive, negated := strings.CutPrefix(pattern, "!")
		if matchPattern(strings.ToLower(positive), strings.ToLower(host)) {
			if negated {
				return false
			}
			found = true
		}
	}
	return found
}

// matchPattern knows "*" for any characters and "?" for one.
func matchPattern(pattern, text string) bool {
	star, mark := -1, 0
	p, t := 0, 0
	for t < len(text) {
		switch {
		case p < len(pattern) && pattern[p] == '*':
			star, mark = p, t
			p++
		case p < len(pattern) && (pattern[p] == '?' || pattern[p] == text[t]):
			p++
			t++
		case star >= 0:
			mark++
			p, t = star+1, mark
		default:
			return false
		}
	}
	return strings.Trim(pattern[p:], "*") == ""
}
