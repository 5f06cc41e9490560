package repo

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// setting is one line of git's configuration.
type setting struct{ section, subsection, key, value string }

// settings are the lines of all of git's configuration files, in the order in which git reads them: the last wins.
type settings []setting

// value is the last value of a key, or "".
func (s settings) value(section, subsection, key string) string {
	values := s.values(section, subsection, key)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

func (s settings) values(section, subsection, key string) []string {
	var values []string
	for _, line := range s {
		if line.section == section && line.subsection == subsection && line.key == key {
			values = append(values, line.value)
		}
	}
	return values
}

// readConfig reads what git would read here: the system's file, the user's, the repository's, the worktree's, and the
// environment. go-git follows neither include nor includeIf, with which actions/checkout v6 points at its credentials. A
// file whose path is not absolute is passed over: it would be one that somebody committed. Of the repository's own, in a
// checkout that git would not trust, only a part counts.
func (r *Repo) readConfig() (settings, error) {
	getenv := r.options.Getenv
	reader := configReader{home: getenv("HOME"), gitDir: r.gitDir}
	files := []string{reader.absolute("~/.config/git/config", ""), reader.absolute("~/.gitconfig", "")}
	if xdg := getenv("XDG_CONFIG_HOME"); xdg != "" {
		files[0] = filepath.Join(xdg, "git", "config")
	}
	if global := getenv("GIT_CONFIG_GLOBAL"); global != "" {
		files = []string{global}
	}
	if off := getenv("GIT_CONFIG_NOSYSTEM"); off == "" || off == "0" || off == "false" {
		files = append([]string{"/etc/gitconfig"}, files...)
	}
	protected, err := reader.readAll(files)
	if err != nil {
		return nil, err
	}
	own, err := reader.readAll([]string{filepath.Join(r.common, "config"), filepath.Join(r.gitDir, "config.worktree")})
	if err != nil {
		return nil, err
	}
	environment := environmentConfig(getenv)
	if owner, foreign := r.foreign(append(slices.Clip(protected), environment...)); foreign {
		own = r.harmless(own, owner)
	}
	return slices.Concat(protected, own, environment), nil
}

// environmentConfig are the settings in GIT_CONFIG_COUNT, GIT_CONFIG_KEY_N and GIT_CONFIG_VALUE_N.
func environmentConfig(getenv func(string) string) settings {
	var lines settings
	count, _ := strconv.Atoi(getenv("GIT_CONFIG_COUNT"))
	for n := range min(max(count, 0), 1000) {
		number := strconv.Itoa(n)
		section, rest, _ := strings.Cut(getenv("GIT_CONFIG_KEY_"+number), ".")
		last := strings.LastIndexByte(rest, '.')
		lines = append(lines, setting{strings.ToLower(section), rest[:max(last, 0)], strings.ToLower(rest[last+1:]), getenv("GIT_CONFIG_VALUE_" + number)})
	}
	return lines
}

type configReader struct {
	home, gitDir string
	lines        settings
}

// readAll reads files, and the files that they include.
func (c *configReader) readAll(files []string) (settings, error) {
	c.lines = nil
	for _, file := range files {
		if err := c.read(file, 0); err != nil {
			return nil, err
		}
	}
	return c.lines, nil
}

func (c *configReader) read(file string, depth int) error {
	if !filepath.IsAbs(file) {
		return nil
	}
	data, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return nil
	} else if err != nil {
		return err
	}
	if depth > 10 { // git's own limit
		return fmt.Errorf("%s: too many nested includes", file)
	}
	return parseConfig(string(data), func(line setting) error {
		c.lines = append(c.lines, line)
		included := line.section == "include" || line.section == "includeif" && c.applies(line.subsection, filepath.Dir(file))
		if included && line.key == "path" {
			return c.read(c.absolute(line.value, filepath.Dir(file)), depth+1)
		}
		return nil
	})
}

// applies decides an includeIf condition (git-config, "Conditional includes"). Only gitdir is known, which is what
// actions/checkout writes. The pattern's symbolic links are resolved, because a runner's work folder may be one.
func (c *configReader) applies(condition, dir string) bool {
	kind, pattern, _ := strings.Cut(condition, ":")
	gitDir, under := c.gitDir, strings.HasSuffix(pattern, "/")
	anywhere := !strings.HasPrefix(pattern, ".") && !strings.HasPrefix(pattern, "~") && !filepath.IsAbs(pattern)
	if !anywhere {
		pattern = c.absolute(pattern, dir)
		if real, err := filepath.EvalSymlinks(filepath.Dir(pattern)); err == nil {
			pattern = filepath.Join(real, filepath.Base(pattern))
		}
	}
	switch kind {
	case "gitdir":
	case "gitdir/i":
		pattern, gitDir = strings.ToLower(pattern), strings.ToLower(gitDir)
	default:
		return false
	}
	switch {
	case anywhere && under:
		return strings.Contains(gitDir+"/", "/"+pattern)
	case anywhere:
		return strings.HasSuffix(gitDir, "/"+pattern)
	case under:
		return strings.HasPrefix(gitDir, pattern+"/")
	}
	matched, _ := filepath.Match(pattern, gitDir)
	return matched
}

// absolute expands a path of a configuration file in dir. Without a HOME, what begins with ~/ stays relative.
func (c *configReader) absolute(path, dir string) string {
	if rest, ok := strings.CutPrefix(path, "~/"); ok {
		return filepath.Join(c.home, rest)
	}
	if !filepath.IsAbs(path) {
		return filepath.Join(dir, path)
	}
	return filepath.Clean(path)
}

// urlValues are the values of a key that apply to a remote: those of the URL that matches the longest part of it, else
// the general ones. An empty value clears what came before it (git-config, "http.<url>.*").
func (s settings) urlValues(section, key string, remote *url.URL) []string {
	best, found := "", false
	for _, line := range s {
		if line.section == section && line.key == key && urlMatches(line.subsection, remote) && len(line.subsection) >= len(best) {
			best, found = line.subsection, true
		}
	}
	if !found {
		return nil
	}
	return append([]string{}, withoutCleared(s.values(section, best, key))...)
}

// urlValue is the last of urlValues, or "".
func (s settings) urlValue(section, key string, remote *url.URL) string {
	values := s.urlValues(section, key, remote)
	if len(values) == 0 {
		return ""
	}
	return values[len(values)-1]
}

// withoutCleared are the values after the last empty one.
func withoutCleared(values []string) []string {
	for i := len(values) - 1; i >= 0; i-- {
		if values[i] == "" {
			return values[i+1:]
		}
	}
	return values
}

// urlMatches reports whether a configuration for pattern holds for a remote: same scheme, port and user if it has one, a
// host in which "*" stands for one label, and a path that is the pattern's or below it.
func urlMatches(pattern string, remote *url.URL) bool {
	if pattern == "" {
		return true
	}
	p, err := url.Parse(pattern)
	if err != nil || p.Scheme != remote.Scheme || port(p) != port(remote) || !hostMatches(p.Hostname(), remote.Hostname()) {
		return false
	}
	if p.User != nil && p.User.Username() != remote.User.Username() {
		return false
	}
	folder := strings.TrimSuffix(p.Path, "/")
	return remote.Path == folder || strings.HasPrefix(remote.Path, folder+"/")
}

func hostMatches(pattern, host string) bool {
	patterns, labels := strings.Split(strings.ToLower(pattern), "."), strings.Split(strings.ToLower(host), ".")
	return slices.EqualFunc(patterns, labels, func(p, label string) bool { return p == "*" || p == label })
}

func port(u *url.URL) string {
	return cmp.Or(u.Port(), map[string]string{"http": "80", "https": "443"}[u.Scheme])
}

// isTrue reads git's booleans.
func isTrue(value string) bool {
	switch strings.ToLower(value) {
	case "true", "yes", "on":
		return true
	}
	number, err := strconv.Atoi(value)
	return err == nil && number != 0
}

// path expands ~/ in a path of git's configuration. One that is not absolute is none.
func (r *Repo) path(value string) string {
	if rest, ok := strings.CutPrefix(value, "~/"); ok {
		value = filepath.Join(r.options.Getenv("HOME"), rest)
	}
	if !filepath.IsAbs(value) {
		return ""
	}
	return value
}
