package githubactions

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
)

// step is an Action with a log to read, a fixed token, and files where a runner would have put them.
func step(t *testing.T, env map[string]string) (*Action, *bytes.Buffer) {
	t.Helper()
	all := map[string]string{
		"GITHUB_ACTIONS": "true",
		outputFile:       filepath.Join(t.TempDir(), "output"),
		summaryFile:      filepath.Join(t.TempDir(), "summary"),
	}
	maps.Copy(all, env)
	var log bytes.Buffer
	a := New(func(name string) string { return all[name] }, &log)
	a.token = func() string { return "TOKEN" }
	return a, &log
}

func content(t *testing.T, a *Action, variable string) string {
	t.Helper()
	data, err := os.ReadFile(a.getenv(variable))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// parse reads a file of outputs by the runner's rules: whichever of "=" and "<<" comes first decides, and a
// delimiter closes a value where it is a whole line.
func parse(t *testing.T, file string) map[string]string {
	t.Helper()
	outputs := map[string]string{}
	lines := strings.Split(strings.TrimSuffix(file, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		equals, heredoc := strings.Index(lines[i], "="), strings.Index(lines[i], "<<")
		if heredoc < 0 || equals >= 0 && equals < heredoc {
			name, value, found := strings.Cut(lines[i], "=")
			if !found {
				t.Fatalf("line %d: %q is no output", i+1, lines[i])
			}
			outputs[name] = value
			continue
		}
		name, end := lines[i][:heredoc], lines[i][heredoc+2:]
		var value []string
		for i++; lines[i] != end; i++ {
			value = append(value, lines[i])
		}
		outputs[name] = strings.Join(value, "\n")
	}
	return outputs
}

func TestOutputRoundTrip(t *testing.T) {
	want := map[string]string{
		"plain":     "sha256:abc",
		"empty":     "",
		"lines":     "one\ntwo\n",
		"injection": "x\nfake=1\nother<<EOF\nEOF\n_GitHubActionsFileCommandDelimeter_\nstolen=yes",
		"equals":    "a=b",
		"encoded":   "100%0Afake=1",
		"command":   "::set-output name=x::y",
		"unicode":   "こんにちは",
		"return":    "a\r\nb\r",
	}
	a, log := step(t, nil)
	a.token = random
	for name, value := range want {
		if err := a.Output(name, value); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if diff := cmp.Diff(want, parse(t, content(t, a, outputFile))); diff != "" {
		t.Error(diff)
	}
	if log.Len() > 0 {
		t.Errorf("an output was logged: %s", log)
	}
}

func TestOutputRefusals(t *testing.T) {
	a, _ := step(t, nil)
	for _, tt := range []struct{ name, value string }{
		{"digest", "x\nghadelimiter_TOKEN\nfake=1"},
		{"", "x"},
		{"a=b", "x"},
		{"a<<b", "x"},
		{"a\nb", "x"},
	} {
		if err := a.Output(tt.name, tt.value); err == nil {
			t.Errorf("Output(%q, %q) was written", tt.name, tt.value)
		}
	}
	if _, err := os.Stat(a.getenv(outputFile)); err == nil {
		t.Errorf("a refused output is in the file: %q", content(t, a, outputFile))
	}
}

func TestDelimitersDiffer(t *testing.T) {
	if one, two := random(), random(); one == two || len(one) != 32 {
		t.Errorf("tokens %q and %q: want two of 128 bits", one, two)
	}
}

func TestWriteFailure(t *testing.T) {
	a, _ := step(t, map[string]string{outputFile: t.TempDir(), summaryFile: filepath.Join(t.TempDir(), "none", "s")})
	for _, err := range []error{a.Output("digest", "x"), a.Summary("x")} {
		if cause := new(os.PathError); !errors.As(err, &cause) || fault.HintOf(err) == "" {
			t.Errorf("got %v, want the path's error with a hint", err)
		}
	}
}

func TestSummary(t *testing.T) {
	line := strings.Repeat("日本語 ", 10) + "\n"
	for _, tt := range []struct {
		name, before, add string
		cut               bool
	}{
		{"short", "", "# Done", false},
		{"appended", "# First\n", "# Second", false},
		{"just fits", "", strings.Repeat("x", maxSummary-1), false},
		{"one byte over", "", strings.Repeat("x", maxSummary), true},
		{"1 MiB of lines", "", strings.Repeat(line, 1<<20/len(line)), true},
		{"one long line", "", strings.Repeat("日", 1<<20), true},
		{"no room left", strings.Repeat("x", maxSummary-10), strings.Repeat("y", 100), true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, _ := step(t, nil)
			if err := os.WriteFile(a.getenv(summaryFile), []byte(tt.before), 0o644); err != nil {
				t.Fatal(err)
			}
			if err := a.Summary(tt.add); err != nil {
				t.Fatal(err)
			}
			got := content(t, a, summaryFile)
			if len(got) > maxSummary || !utf8.ValidString(got) || !strings.HasPrefix(got, tt.before) {
				t.Fatalf("%d bytes, valid text: %v", len(got), utf8.ValidString(got))
			}
			if !tt.cut && got != tt.before+tt.add+"\n" {
				t.Error("the text was changed")
			}
			if added := strings.TrimPrefix(got, tt.before); tt.cut && added != "" {
				kept, found := strings.CutSuffix(added, summaryNotice+"\n")
				if !found || !strings.HasPrefix(tt.add, kept) {
					t.Error("not the beginning of the text and the notice")
				}
				if strings.HasSuffix(tt.add, "\n") && tt.add[len(kept)] != '\n' {
					t.Error("cut within a line")
				}
				if room := maxSummary - len(got); room > len(line) {
					t.Errorf("%d bytes of room wasted", room)
				}
			}
		})
	}
}

func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		name string
		do   func(a *Action)
		want string
	}{
		{"error", func(a *Action) { a.Error("apps/web.yaml", 7, "not found") }, "::error file=apps/web.yaml,line=7::not found\n"},
		{"error without a place", func(a *Action) { a.Error("", 0, "denied") }, "::error::denied\n"},
		{"a line needs a file", func(a *Action) { a.Error("", 7, "denied") }, "::error::denied\n"},
		{"warning", func(a *Action) { a.Warning("a.yaml", 0, "old") }, "::warning file=a.yaml::old\n"},
		{"lines in a message", func(a *Action) { a.Error("", 0, "100%\r\n::set-env name=X::y") }, "::error::100%25%0D%0A::set-env name=X::y\n"},
		{"an escape in a message", func(a *Action) { a.Error("", 0, "%0A::x") }, "::error::%250A::x\n"},
		{"a hostile file name", func(a *Action) { a.Error("a,line=1::x\n::y", 2, "m") }, "::error file=a%2Cline=1%3A%3Ax%0A%3A%3Ay,line=2::m\n"},
		{"group", func(a *Action) { a.Group("push\n::x"); a.EndGroup() }, "::group::push%0A::x\n::endgroup::\n"},
		{"mask", func(a *Action) { a.Mask(" s3cret%\n") }, "::add-mask::s3cret%25\n"},
		{"mask a short secret", func(a *Action) { a.Mask("ab") }, "::add-mask::ab\n"},
		{"mask each line", func(a *Action) { a.Mask("{\r\n  \"key\": 1\r\n}\r\n\nlast") }, "::add-mask::\"key\": 1\n::add-mask::last\n"},
		{"mask nothing", func(a *Action) { a.Mask("\n \n") }, ""},
		{"untrusted", func(a *Action) {
			a.Untrusted(func(w io.Writer) { io.WriteString(w, "image: ::add-mask::x\n##[set-env name=A;]b\n") })
		}, "::stop-commands::TOKEN\nimage: ::add-mask::x\n##[set-env name=A;]b\n::TOKEN::\n"},
		{"untrusted, open line", func(a *Action) {
			a.Untrusted(func(w io.Writer) { io.WriteString(w, "a\n::set-env"); w.Write(nil) })
		}, "::stop-commands::TOKEN\na\n::set-env\n::TOKEN::\n"},
		{"untrusted, nothing", func(a *Action) { a.Untrusted(func(io.Writer) {}) }, "::stop-commands::TOKEN\n::TOKEN::\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a, log := step(t, nil)
			tt.do(a)
			if diff := cmp.Diff(tt.want, log.String()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestUntrustedEndsWhenPrintPanics(t *testing.T) {
	a, log := step(t, nil)
	func() {
		defer func() { recover() }()
		a.Untrusted(func(w io.Writer) { io.WriteString(w, "half"); panic("broken") })
	}()
	if want := "::stop-commands::TOKEN\nhalf\n::TOKEN::\n"; log.String() != want {
		t.Errorf("got %q, want %q", log, want)
	}
}

func TestOutsideOfActions(t *testing.T) {
	a, log := step(t, map[string]string{"GITHUB_ACTIONS": "", outputFile: "", summaryFile: ""})
	a.Mask("s3cret")
	a.Group("g")
	a.EndGroup()
	a.Error("f", 1, "m")
	if err := errors.Join(a.Output("a", "b"), a.Summary("s")); err != nil {
		t.Error(err)
	}
	a.Untrusted(func(w io.Writer) { io.WriteString(w, "text\n") })
	if log.String() != "text\n" {
		t.Errorf("log: %q", log)
	}
}

type brokenPipe struct{}

func (brokenPipe) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }

func TestBrokenLogDoesNotPanic(t *testing.T) {
	a := New(func(string) string { return "true" }, brokenPipe{})
	a.Error("", 0, "m")
	a.Mask("s3cret")
	a.Untrusted(func(w io.Writer) { io.WriteString(w, "x") })
}
