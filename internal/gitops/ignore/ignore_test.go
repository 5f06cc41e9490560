package ignore_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/gitops/ignore"
	"github.com/ksera524/imgbump/internal/gittest"
)

// paths are what the patterns of the tests are tried on; those that end in a slash are folders.
var paths = []string{
	"a", "b", "ab", "a.yaml", "b.yaml", "a-b", "a b", "a ", "#a", "!a", "a\\b", "[a]", "a]", "テ.yaml", "-", "^", "A", "1.yaml",
	"d/", "d/a", "d/a.yaml", "d/b.yaml", "d/e/", "d/e/a", "d/e/a.yaml", "d/e/f/", "d/e/f/b.yaml", "d/e/f/a",
	"build/", "build/a.yaml", "build/d/", "build/d/a", "x/", "x/build/", "x/build/a", "x/d/", "x/d/e/", "x/d/e/a",
}

// TestAgreesWithGit leaves out d**/a, which git takes for d/**/a although gitignore(5) says otherwise.
func TestAgreesWithGit(t *testing.T) {
	dir := repository(t)
	for _, rules := range []string{
		"a", "/a", "a/", "*.yaml", "/*.yaml", "!a", "*\n!a", "*\n!*/\n!*.yaml", "d/*\n!d/e", "d/\n!d/a", "build/", "/build", "build/*", "d/e/",
		"**", "**/a", "d/**", "d/**/a", "**/e/**", "/**", "**/", "a**", "d/**a", "***/a", "d/***/a", "x/**/a", "**/d/**/a", "**/**/a",
		"a?", "?", "d/?", "d?a", "[ab]", "[!a]", "[^a]", "[a-c]*", "[]a]", "[[]a]", "[a", "[a-", "[a\\", "[\\]a]*", "[a-]", "[-a]", "[^]", "[!]a]",
		"[[:alpha:]]", "[[:digit:][:upper:]]*", "[[:nope:]]", "[![:punct:]]", "[[:space:]a]",
		"\\#a", "#a", "\\!a", "a\\ ", "a ", "a   ", "a\\  ", "a\\\\b", "a\\b", "a\\", "\\a", " a", "\\", "!", "/", "//", "//a", "d//a", "d/a//", "",
		"a\r\n*.yaml\r\n", "\xef\xbb\xbfa", "*.yaml\n!d/\n!b.yaml", "d/e\n!d/e/a", "*b*l", "*a*a*a*b", "テ*", "?.yaml", "a\t", "d/*/a", "*/a", "*/*/a", "d/e/**/", "*/",
	} {
		compare(t, dir, rules)
	}
}

// TestAgreesWithGitOnAnything tries what nobody would write.
func TestAgreesWithGitOnAnything(t *testing.T) {
	dir := repository(t)
	random := rand.New(rand.NewPCG(1, 2))
	pieces := []string{"a", "b", "d", "e", "yaml", ".", "*", "**", "?", "/", "/", "[ab]", "[!a-c]", "\\", " ", "!", "#", "\n", "\n!", "build"}
	for range 150 {
		var rules strings.Builder
		for range 1 + random.IntN(9) {
			rules.WriteString(pieces[random.IntN(len(pieces))])
		}
		compare(t, dir, rules.String())
	}
}

func repository(t *testing.T) (dir string) {
	dir = t.TempDir()
	if _, err := gittest.Git(dir, "init", "-q"); err != nil {
		t.Fatal(err)
	}
	return dir
}

func compare(t *testing.T, dir, rules string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, ".gitignore"), []byte(rules), 0o644); err != nil {
		t.Fatal(err)
	}
	parsed := ignore.Parse([]byte(rules))
	var ours []string
	for _, p := range paths {
		if folder := strings.HasSuffix(p, "/"); parsed.Covers(strings.TrimSuffix(p, "/")) && !folder || folder && parsed.Covers(p+"x") {
			ours = append(ours, p)
		}
	}
	if diff := cmp.Diff(git(t, dir), ours); diff != "" {
		t.Errorf("%q: -git +ours:\n%s", rules, diff)
	}
}

// git is which of the paths git ignores; of a folder whether it ignores a file called x there.
func git(t *testing.T, dir string) (ignored []string) {
	t.Helper()
	var asked []string
	for _, p := range paths {
		if strings.HasSuffix(p, "/") {
			p += "x"
		}
		asked = append(asked, p)
	}
	cmd := exec.Command("git", "-C", dir, "check-ignore", "--no-index", "-z", "--stdin")
	cmd.Env = append(os.Environ(), gittest.Env()...)
	cmd.Stdin = strings.NewReader(strings.Join(asked, "\x00"))
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: none is ignored
		t.Fatalf("git check-ignore: %v", err)
	}
	said := strings.Split(string(out), "\x00")
	for i, p := range asked {
		if slices.Contains(said, p) {
			ignored = append(ignored, paths[i])
		}
	}
	return ignored
}

func TestMatchSaysWhy(t *testing.T) {
	rules := ignore.Parse([]byte("*.yaml\n!keep.yaml\nout/\n"))
	for p, want := range map[string]ignore.Verdict{"a.yaml": ignore.Ignored, "d/keep.yaml": ignore.Kept, "a.txt": ignore.Unsaid, "out": ignore.Unsaid} {
		if got := rules.Match(p, false); got != want {
			t.Errorf("%s: %v, want %v", p, got, want)
		}
	}
	if !rules.Covers("out/keep.yaml") || rules.Covers("out") || rules.Match("out", true) != ignore.Ignored {
		t.Error("what lies in an ignored folder is ignored; a file of its name is not")
	}
}

func TestCheck(t *testing.T) {
	for _, good := range []string{"a", "/a/b/", "*.yaml", "**/a", "!a", "[ab]", "\\#a", "a\\ ", "[]]"} {
		if err := ignore.Check(good); err != nil {
			t.Errorf("%q %v", good, err)
		}
	}
	for bad, part := range map[string]string{
		"": "empty", "/": "empty", "!": "empty", "#a": "comment", "a\nb": "more than one line", "./a": "not relative", "../a": "not relative",
		"a//b": "not relative", "[a": "not closed", "a\\": "backslash", "d/[a/b": "not closed", "[a\\": "not closed",
	} {
		if err := ignore.Check(bad); err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("%q: %v, want %q", bad, err, part)
		}
	}
}

// TestHostilePattern must not take for ever.
func TestHostilePattern(t *testing.T) {
	rules := ignore.Parse(fmt.Appendf(nil, "%sb\n/%sb", strings.Repeat("*a", 50), strings.Repeat("**/a/", 50)))
	if rules.Covers(strings.Repeat("a", 10_000)) || rules.Covers(strings.Repeat("a/", 2_000)+"a") {
		t.Error("there is no b")
	}
}
