package repo

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/gittest"
)

// Git reads the same file; what it lists is what we must find.
func TestParseConfigAgreesWithGit(t *testing.T) {
	const text = "\ufeff# comment\n[core]\n\tbare\n\tfilemode=false ; comment\n" +
		"[alias]\n  lg = \"!f() { git log \\\"$@\\\"; }; f\"\n\tst = !git status \\\n  --short\n  b = a\\tb\\\\c # comment\n" +
		"[section.Dotted]\n x-Y = 1\n[url \"git@github.com:\"]\n\tinsteadOf = https://github.com/\n" +
		"[Remote \"a \\\"B\\\\\"] url = x:y\n[color \"status\"]\n added = \"green bold\"\r\n[a]\n empty=\n" +
		"[includeIf \"gitdir:/w/.git\"]\n\tpath = /nowhere\n[foo]\n u = caf\u00e9\n k9 = \"a;b#c\"  d \n"
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	listed, err := gittest.Git("", "config", "--file", file, "--null", "--list")
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Split(strings.TrimSuffix(listed, "\x00"), "\x00")
	want[0] += "\ntrue" // a key alone
	var got []string
	err = parseConfig(text, func(s setting) error {
		name := s.section + "." + s.subsection + "." + s.key
		got = append(got, strings.Replace(name, "..", ".", 1)+"\n"+s.value)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-git +ours:\n%s", diff)
	}
}

func FuzzParseConfig(f *testing.F) {
	f.Add("[a \"b\"]\nc = \"d\\\n")
	f.Add("[a\n=\\")
	f.Fuzz(func(t *testing.T, text string) {
		parseConfig(text, func(setting) error { return nil }) // ends, and does not panic
	})
}
