package bump

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/imageref"
)

var commitHash = strings.Repeat("0a1b2c3d", 5)

func digest(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// change is a change of file, from and to references, by the application app.
func change(t *testing.T, file, from, to, app string) Change {
	t.Helper()
	f, err := imageref.Parse(from)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := imageref.Parse(to)
	if err != nil {
		t.Fatal(err)
	}
	site := manifest.Site{File: file, Object: manifest.Object{APIVersion: "apps/v1", Kind: "Deployment", Name: filepath.Base(file)}}
	return Change{Site: site, Line: 7, From: f, To: ref, Application: app}
}

func rendered(t *testing.T, text string, changes []Change, trailers ...string) string {
	t.Helper()
	m, err := ParseMessage(text, trailers...)
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	got, err := m.render(Plan{Changes: changes})
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	return got
}

// ours is what a message gets from us at its end.
const ours = "\n\nImgbump: v1\n"

func TestTemplateVariables(t *testing.T) {
	changes := []Change{
		change(t, "b/dep.yaml", "foo/bar:1.0", "foo/bar:1.1", "web"),
		change(t, "a/dep.yaml", "foo/bar:1.0", "foo/bar:1.1", "api"),
		change(t, "a/dep.yaml", "bar/baz:2@"+digest("1"), "bar/baz:2@"+digest("2"), "api"),
		change(t, "c.yaml", "old/x:1", "host.example.com/x@"+digest("3"), ""),
	}
	for text, want := range map[string]string{
		"{{.Summary}}: {{.AppName}}":                             "3 images: web, api",
		`{{join ", " .Files}}`:                                   "b/dep.yaml, a/dep.yaml, c.yaml",
		`{{range .AppChanges}}{{.Image}} {{end}}`:                "foo/bar bar/baz host.example.com/x",
		`{{(index .AppChanges 0).NewTag | printf "v%s"}}`:        "v1.1",
		"{{range .Changed.Changes}}{{.OldValue}} {{end}}":        "foo/bar:1.0 foo/bar:1.0 bar/baz:2@" + digest("1") + " old/x:1",
		"{{range $f, $_ := .Changed.FileChanges}}{{$f}} {{end}}": "a/dep.yaml b/dep.yaml c.yaml",
		"{{range $o, $c := .Changed.Objects}}{{$o.Kind}} {{$o.Name}}{{range $c}} {{.NewValue | short}}{{end}}\n{{end}}": "Deployment c.yaml host.example.com/x@sha256:333333333333\n" +
			"Deployment dep.yaml foo/bar:1.1 foo/bar:1.1 bar/baz:2@sha256:222222222222",
		"{{range .AppChanges}}{{.OldTag | short}} {{.NewTag | short}}\n{{end}}": "1.0 1.1\nsha256:111111111111 sha256:222222222222\n1 sha256:333333333333",
	} {
		if diff := cmp.Diff(want+ours, rendered(t, text, changes)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

// The templates of Argo CD Image Updater say what they said there; blank lines and the trailer aside.
func TestImageUpdaterTemplates(t *testing.T) {
	folder := os.Getenv("IMGBUMP_CASES")
	if folder == "" {
		t.Skip("not run: IMGBUMP_CASES does not name the folder of the cases")
	}
	data, err := os.ReadFile(filepath.Join(folder, "commit_branch_templates_aiu.json"))
	if err != nil {
		t.Fatal(err)
	}
	type version struct {
		Tag, Digest string
		Labels      map[string]any
	}
	var file struct {
		Cases []struct {
			Name, Kind, Template, App string
			Want                      any
			Changes                   []struct {
				Image    string
				Old, New version
			}
		}
	}
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	ref := func(image string, v version) string {
		if v.Digest != "" {
			return image + "@" + v.Digest
		}
		return image + ":" + v.Tag
	}
	checked := 0
	for _, c := range file.Cases {
		if c.Kind != "commit" {
			continue
		}
		var changes []Change
		labelled := false
		for _, x := range c.Changes {
			changes = append(changes, change(t, "a.yaml", ref(x.Image, x.Old), ref(x.Image, x.New), c.App))
			labelled = labelled || len(x.New.Labels) > 0
		}
		if labelled {
			continue // an image's labels are not read
		}
		checked++
		if diff := cmp.Diff(strings.TrimSpace(c.Want.(string))+ours, rendered(t, c.Template, changes)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.Name, diff)
		}
	}
	if checked < 2 {
		t.Errorf("%d cases checked", checked)
	}
}

// What people's templates for Argo CD Image Updater and Flux look like.
func TestOtherToolsTemplates(t *testing.T) {
	changes := []Change{change(t, "apps/web.yaml", "foo/bar:1.0", "foo/bar:1.1", "web")}
	for text, want := range map[string]string{
		"build: automatic update of {{ .AppName }}\n\n{{ range .AppChanges -}}\nupdates image {{ .Image }} tag '{{ .OldTag }}' to '{{ .NewTag }}'\n{{ end -}}\n": "build: automatic update of web\n\nupdates image foo/bar tag '1.0' to '1.1'",
		"x\n{{ range .AppChanges }}{{ if index .Labels \"org.opencontainers.image.revision\" }}{{ .NewTag }}{{ else }}none{{ end }}{{ end }}":                    "x\nnone",
		"Automated image update\n\nFiles:\n{{ range $filename, $_ := .Changed.FileChanges -}}\n- {{ $filename }}\n{{ end -}}\n\nObjects:\n{{ range $resource, $changes := .Changed.Objects -}}\n- {{ $resource.Kind }} {{ $resource.Name }}\n  Changes:\n{{- range $_, $change := $changes }}\n    - {{ $change.OldValue }} -> {{ $change.NewValue }}\n{{ end -}}\n{{ end -}}": "Automated image update\n\nFiles:\n- apps/web.yaml\nObjects:\n- Deployment web.yaml\n  Changes:\n    - foo/bar:1.0 -> foo/bar:1.1",
	} {
		if diff := cmp.Diff(want+ours, rendered(t, text, changes)); diff != "" {
			t.Errorf("%q (-want +got):\n%s", text, diff)
		}
	}
}

func TestTemplateErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a\n{{.Nope}}":                        "message template line 2, column 2: there is no .Nope here",
		"{{range .Images}}{{.NewTag}}{{end}}": "message template line 1, column 19: there is no .NewTag here",
		"{{.AutomationObject.Name}}":          "message template line 1, column 19: there is no .AutomationObject here",
		"{{.Updated.Images}}":                 "message template line 1, column 10: there is no .Updated here",
		"{{":                                  "message template line 1: unclosed action",
		"{{lower .Summary}}":                  `message template line 1: function "lower" not defined`,
		`{{template "x"}}`:                    `message template line 1, column 11: template "x" not defined`,
		"{{join .Summary .Files .Files}}":     `message template line 1, column 2: wrong number of args for join: want 2 got 3`,
		" {{/* nothing */}}\n":                "message template: it renders to nothing",
		"\xff":                                "message template: it is not UTF-8 text",
		"a\x00b":                              "message template: it is not UTF-8 text",
	} {
		_, err := ParseMessage(text)
		if fault.KindOf(err) != fault.Usage || err.Error() != want || fault.HintOf(err) == "" {
			t.Errorf("%q: %v (hint %q), want %s", text, err, fault.HintOf(err), want)
		}
	}
	if _, err := ParseMessage("{{.Nope}}"); !strings.Contains(fault.HintOf(err), ".AppName") {
		t.Errorf("hint: %s", fault.HintOf(err))
	}
	for _, bad := range []string{"", "no trailer", "A: b\nC: d", "Key:"} {
		if _, err := ParseMessage("", bad); fault.KindOf(err) != fault.Usage {
			t.Errorf("trailer %q: %v", bad, err)
		}
	}
}

func TestSubjectFits(t *testing.T) {
	long := strings.Repeat("long-", 20)
	for ref, want := range map[string]string{
		"team/rss:1.5.0":                                     "rss to 1.5.0",
		"team/rss:" + commitHash:                             "rss to " + commitHash,
		"team/web-frontend:main-" + commitHash:               "web-frontend to main-0a1b2c3d0a1b",
		"team/web-frontend-of-the-shop:feature-" + long[:30]: "web-frontend-of-the-shop",
		"team/" + long + "x:1":                               long[:49] + "...",
	} {
		subject, _, _ := strings.Cut(rendered(t, "", []Change{change(t, "a.yaml", "a:1", ref, "")}), "\n")
		if subject != "chore(images): bump "+want || len(subject) > 72 {
			t.Errorf("%s: %q (%d bytes)", ref, subject, len(subject))
		}
	}
	own := rendered(t, "{{.Summary}}", []Change{change(t, "a.yaml", "a:1", "team/"+long+"x:1", "")})
	if !strings.Contains(own, long+"x to 1") {
		t.Errorf("a template of one's own: %q", own)
	}
}

func TestMessageIsTidyAndBounded(t *testing.T) {
	for _, text := range []string{"\n\n a \t\n\n\n\nb\r\n c  \n\n\n", "件名\n\n\n本文 ü \n"} {
		cmd := exec.Command("git", "stripspace")
		cmd.Env, cmd.Stdin = gittest.Env(), strings.NewReader(text)
		want, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		if got := rendered(t, text, nil); got != strings.TrimRight(string(want), "\n")+ours {
			t.Errorf("%q: got %q", text, got)
		}
	}
	var changes []Change
	for i := range 3000 {
		changes = append(changes, change(t, fmt.Sprintf("apps/%04d/deployment.yaml", i), "a:1", "a:2", ""))
	}
	got := rendered(t, "", changes, "Fixes: 7")
	end := fmt.Sprintf("deployment.yaml:7 1 -> 2\n\nand %d more lines\n\nFixes: 7\nImgbump: v1\n", 3000-strings.Count(got, "\n- "))
	if len(got) > maxMessage+100 || len(got) < maxMessage-100 || !strings.HasSuffix(got, end) {
		t.Errorf("%d bytes, ends in %q, want %q", len(got), got[len(got)-100:], end)
	}
	if got := rendered(t, strings.Repeat("x\n", 40_000)+"\nFixes: 7", nil); !strings.HasSuffix(got, " more lines\n\nFixes: 7\nImgbump: v1\n") {
		t.Errorf("its trailers are lost: %q", got[len(got)-60:])
	}
	rendered(t, strings.Repeat("ü", 40_000), nil) // one line
}

func TestTrailersAreMerged(t *testing.T) {
	changes := []Change{change(t, "a.yaml", "a:1", "a:2", "")}
	for text, want := range map[string]string{
		"s\n\nReviewed-by: A":         "s\n\nReviewed-by: A\nFixes: 7\nImgbump: v1\n",
		"s\n\nImgbump: v1":            "s\n\nImgbump: v1\nFixes: 7\n",
		"s\n\ntext\n\nFixes: 7\nA: b": "s\n\ntext\n\nFixes: 7\nA: b\nImgbump: v1\n",
		"s":                           "s\n\nFixes: 7\nImgbump: v1\n",
	} {
		if diff := cmp.Diff(want, rendered(t, text, changes, "Fixes: 7")); diff != "" {
			t.Errorf("%q:\n%s", text, diff)
		}
	}
}

// A file's name in somebody's repository cannot speak for the commit.
func TestHostileFileName(t *testing.T) {
	got := rendered(t, "", []Change{change(t, "a\nSigned-off-by: Boss <b@x>\n.yaml", "a:1", "a:2", "")})
	if diff := cmp.Diff("chore(images): bump a to 2\n\na:\n- \"a\\nSigned-off-by: Boss <b@x>\\n.yaml\":7 1 -> 2\n\nImgbump: v1\n", got); diff != "" {
		t.Error(diff)
	}
}

// An error while a template runs over the real changes is one of usage, too.
func TestTemplateFailsLate(t *testing.T) {
	m, err := ParseMessage(`{{if gt (len .Images) 1}}{{index .Images 7}}{{end}}x`)
	if err != nil {
		t.Fatal(err)
	}
	_, err = m.render(Plan{Changes: []Change{change(t, "a.yaml", "a:1", "a:2", ""), change(t, "a.yaml", "b:1", "b:2", "")}})
	if f, ok := errors.AsType[*fault.Error](err); !ok || f.Kind != fault.Usage || f.Where != "line 1, column 27" {
		t.Errorf("%v", err)
	}
}
