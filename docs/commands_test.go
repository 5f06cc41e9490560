package docs_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// shell understands command lines: it runs both programs with --help behind what they were called with, so that they parse
// their flags and do nothing. No other program is on its PATH.
type shell struct{ dir string }

const stub = `#!/bin/sh
"$0.real" "$@" --help >"$LOG" 2>&1 && exit
read -r said <"$LOG"
echo "$said" >>"$FAULTS"
`

func newShell(t *testing.T) shell {
	t.Helper()
	dir := t.TempDir()
	build := exec.Command("go", "build", "-o", dir+"/", "./cmd/imgbump", "./cmd/harborpush")
	build.Dir = root
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, name := range []string{"imgbump", "harborpush"} {
		program := filepath.Join(dir, name)
		if err := os.Rename(program, program+".real"); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(program, []byte(stub), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return shell{dir}
}

// faults is what the programs have against a script.
func (s shell) faults(t *testing.T, script string) string {
	t.Helper()
	faults := filepath.Join(t.TempDir(), "faults")
	cmd := exec.Command("/bin/sh", "-c", script)
	cmd.Dir = t.TempDir()
	cmd.Env = []string{"PATH=" + s.dir, "FAULTS=" + faults, "LOG=" + faults + ".log"}
	_ = cmd.Run() // of programs that are not there
	said, err := os.ReadFile(faults)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(said)
}

func (s shell) help(t *testing.T, program string, verbs ...string) string {
	t.Helper()
	out, err := exec.Command(filepath.Join(s.dir, program+".real"), append(verbs, "--help")...).Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// section is what stands below a title of a help text.
func section(help, title string) string {
	_, rest, _ := strings.Cut(help, "\n"+title+"\n")
	if end := nextTitle.FindStringIndex(rest); end != nil {
		return rest[:end[0]]
	}
	return rest
}

var (
	nextTitle = regexp.MustCompile(`(?m)^\w`)
	ours      = regexp.MustCompile(`\b(imgbump|harborpush) [a-z]`)
	step      = regexp.MustCompile(`^\s*(?:- )?run: `)
	verb      = regexp.MustCompile(`(?m)^  ([a-z]+) {2,}`)
	declared  = regexp.MustCompile(`(?m)^ +(?:-\w, )?(--[a-z0-9-]+)`)
	flag      = regexp.MustCompile(`^--[a-z0-9-]+`)
)

// scripts are the commands that p shows.
func (p page) scripts() []string {
	var scripts []string
	for _, block := range p.code {
		switch block.kind {
		case "sh":
			scripts = append(scripts, block.text)
		case "console":
			for line := range strings.Lines(block.text) {
				if command, typed := strings.CutPrefix(line, "$ "); typed {
					scripts = append(scripts, command)
				}
			}
		case "yaml":
			for line := range strings.Lines(block.text) {
				if start := step.FindStringIndex(line); start != nil {
					scripts = append(scripts, line[start[1]:])
				}
			}
		}
	}
	for _, code := range span.FindAllString(p.prose, -1) {
		scripts = append(scripts, strings.ReplaceAll(strings.Trim(code, "`"), "\n", " "))
	}
	return slices.DeleteFunc(scripts, func(script string) bool { return !ours.MatchString(script) })
}

// others are flags that no help text has: those of instructions in a Dockerfile, those of docker that are taken or refused, and
// one of BuildKit's daemon.
var others = strings.Fields(`--checksum --chmod --chown --device --exclude --keep-git-dir --link --mount --parents --security --unpack
	--load --memory --rm --squash --allow-insecure-entitlement`)

func TestCommands(t *testing.T) {
	s, flags := newShell(t), slices.Clone(others)
	all := pages(t)
	for _, program := range []string{"imgbump", "harborpush"} {
		for _, match := range verb.FindAllStringSubmatch(section(s.help(t, program), "Available Commands:"), -1) {
			command := program + " " + match[1]
			help := s.help(t, program, match[1])
			for _, name := range declared.FindAllStringSubmatch(help, -1) {
				flags = append(flags, name[1])
			}
			if said := s.faults(t, section(help, "Examples:")); said != "" {
				t.Errorf("examples of %s --help: %s", command, said)
			}
			if match[1] != "help" && !strings.Contains(all["README.md"].prose, "`"+command) {
				t.Errorf("README.md does not tell of %s", command)
			}
		}
	}
	delete(all, "CHANGELOG.md") // what was there once may be gone
	for _, p := range all {
		for _, script := range p.scripts() {
			if said := s.faults(t, script); said != "" {
				t.Errorf("%s: %s: %s", p.path, script, said)
			}
		}
		for _, code := range span.FindAllString(p.prose, -1) {
			if name := flag.FindString(strings.Trim(code, "`")); name != "" && !slices.Contains(flags, name) {
				t.Errorf("%s: no command has the flag %s", p.path, name)
			}
		}
	}
}
