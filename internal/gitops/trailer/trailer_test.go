package trailer_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/gitops/trailer"
	"github.com/ksera524/imgbump/internal/gittest"
)

var messages = map[string]string{
	"subject only":             "subject",
	"subject like a trailer":   "Reviewed-by: A",
	"body":                     "subject\n\nbody: it is\nmore",
	"block":                    "subject\n\nbody\n\nReviewed-by: A",
	"block without a body":     "subject\n\nReviewed-by: A",
	"two trailers":             "subject\n\nReviewed-by: A\nFixes: 7",
	"continued":                "subject\n\nReviewed-by: A\n and B\n\tand C",
	"begins continued":         "subject\n\n indented\nReviewed-by: A",
	"mixed":                    "subject\n\nReviewed-by: A\nand some text",
	"mixed, but signed":        "subject\n\nsome text\nmore text\nSigned-off-by: A <a@b>",
	"mixed, hardly signed":     "subject\n\n1\n2\n3\n4\nSigned-off-by: A <a@b>",
	"cherry pick":              "subject\n\nsome text\n(cherry picked from commit 1234)",
	"signed, other first":      "subject\n\nA: b\nC: d\nSigned-off-by: A <a@b>",
	"space before the colon":   "subject\n\nReviewed-by : A",
	"space in the key":         "subject\n\nReviewed by: A",
	"address":                  "subject\n\nhttps://example.com/x",
	"list":                     "subject\n\n- a.yaml:1 1 -> 2",
	"no key":                   "subject\n\n: value",
	"not ASCII":                "件名 ü\n\n本文\n\nGeprüft-von: A",
	"colon at the end":         "subject\n\nbump these:",
	"comment":                  "subject\n\n# comment\nReviewed-by: A",
	"blocks apart":             "subject\n\nA: b\n\nC: d",
	"the trailer again, above": "subject\n\nImgbump: v1\n\nC: d",
}

// What we make of a message is what git makes of it; how git spells the trailers that are there does not count.
func TestAddAsGitDoes(t *testing.T) {
	for name, message := range messages {
		want := interpreted(t, message+"\n", "--trailer", "Imgbump: v1")
		if diff := cmp.Diff(want, interpreted(t, trailer.Add(message, "Imgbump: v1"))); diff != "" {
			t.Errorf("%s (-git +ours):\n%s", name, diff)
		}
	}
}

func interpreted(t *testing.T, message string, args ...string) string {
	t.Helper()
	cmd := exec.Command("git", append([]string{"interpret-trailers", "--no-divider"}, args...)...)
	cmd.Env, cmd.Stdin = gittest.Env(), strings.NewReader(message)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

func TestAdd(t *testing.T) {
	for _, tt := range []struct{ message, want string }{
		{"s", "s\n\nA: 1\nB: 2\n"},
		{"s\n\nB: 2\n\n\n", "s\n\nB: 2\nA: 1\n"},
		{"s\n\nA: 1\nB: 2", "s\n\nA: 1\nB: 2\n"},
	} {
		if diff := cmp.Diff(tt.want, trailer.Add(tt.message, "A: 1", "B: 2")); diff != "" {
			t.Errorf("%q:\n%s", tt.message, diff)
		}
	}
	if got := trailer.Add("s\n"); got != "s\n" {
		t.Errorf("no trailers: %q", got)
	}
}

func TestValid(t *testing.T) {
	for line, want := range map[string]bool{
		"A: b": true, "Co-authored-by: A <a@b>": true, "A:b": true, "": false, "A": false, "A:": false, "A: \t": false,
		"A b: c": false, ": c": false, "A: b\nC: d": false, "A: b\r": false, "ä: b": false,
	} {
		if trailer.Valid(line) != want {
			t.Errorf("%q: not %v", line, want)
		}
	}
}
