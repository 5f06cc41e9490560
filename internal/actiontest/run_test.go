package actiontest

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// In these tests the steps of action.yml run as a runner would run them, with binaries that tell how they were called and
// which password and tokens they were given.

const recorder = `#!/bin/sh
{
	printf '%s\n' "${0##*/}"
	for argument; do printf '[%s]\n' "$argument"; done
	printf '%s, %s, %s\n' "${HARBOR_PASSWORD:-}" "${IMGBUMP_TOKEN:-}" "${GITHUB_TOKEN:-}"
} >"$RECORD"
`

// call runs a step with the given inputs, over the defaults of action.yml, and answers with the record of the call.
func call(t *testing.T, id string, inputs, outer map[string]string) string {
	t.Helper()
	a := read(t)
	at := slices.IndexFunc(a.Runs.Steps, func(s step) bool { return s.ID == id })
	if at < 0 {
		t.Fatalf("action.yml has no step %s", id)
	}
	dir := t.TempDir()
	for _, name := range []string{"imgbump", "harborpush"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(recorder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	outer = maps.Clone(outer)
	if outer == nil {
		outer = map[string]string{}
	}
	outer["steps.start.outputs.bin"] = dir
	record := filepath.Join(dir, "record")
	path, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", a.Runs.Steps[at].Run)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GITHUB_ACTION_PATH=" + path, "RECORD=" + record}
	for name, expression := range a.Runs.Steps[at].Env {
		cmd.Env = append(cmd.Env, name+"="+evaluate(t, a, expression, inputs, outer))
	}
	cmd.Dir = dir // not empty, so that a * that is expanded shows
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	got, err := os.ReadFile(record)
	if err != nil {
		t.Fatal(err)
	}
	return string(got)
}

var operand = regexp.MustCompile(`^\$\{\{ (.*) \}\}$`)

// evaluate knows as much of GitHub's expressions as action.yml needs: alternatives by ||, each a context or a literal,
// perhaps with a comparison and && before it.
func evaluate(t *testing.T, a action, expression string, inputs, outer map[string]string) string {
	t.Helper()
	match := operand.FindStringSubmatch(expression)
	if match == nil {
		t.Fatalf("%s: not one expression", expression)
	}
	for term := range strings.SplitSeq(match[1], " || ") {
		if condition, rest, found := strings.Cut(term, " && "); found {
			name, literal, _ := strings.Cut(condition, " == ")
			if value(t, a, name, inputs, outer) != strings.Trim(literal, "'") {
				continue
			}
			term = rest
		}
		if got := value(t, a, term, inputs, outer); got != "" {
			return got
		}
	}
	return ""
}

func value(t *testing.T, a action, name string, inputs, outer map[string]string) string {
	t.Helper()
	if input, found := strings.CutPrefix(name, "inputs."); found {
		if given, found := inputs[input]; found {
			return given
		}
		return a.Inputs[input].Default
	}
	return strings.Trim(outer[name], "'")
}

// Every input reaches its flag, whatever it holds: an input that is lost or split on the way fails here.
func TestInputsReachFlags(t *testing.T) {
	const hostile = `$(touch "x") * --help 'y' \n ;`
	for command, inputs := range flagOf {
		binary, verb, _ := strings.Cut(command, " ")
		id := map[string]string{"next": "next", "build": "image", "push": "image", "scan": "scan", "set": "bump", "wait": "wait"}[verb]
		for input, flag := range inputs {
			t.Run(command+"/"+input, func(t *testing.T) {
				given := map[string]string{"images": "c:3", input: hostile}
				if verb == "push" {
					given["archive"] = "image.tar"
				}
				got := call(t, id, given, nil)
				if !strings.HasPrefix(got, binary+"\n["+verb+"]\n") || !strings.Contains(got, "\n[--"+flag+"="+hostile+"]\n") {
					t.Errorf("want %s --%s=%s, got\n%s", command, flag, hostile, got)
				}
			})
		}
	}
}

func TestListsHaveOneValueALine(t *testing.T) {
	for id, lists := range map[string]map[string]string{
		"image": {"tags": "tag", "build-args": "build-arg", "build-contexts": "build-context", "labels": "label", "outputs": "output", "annotations": "annotation", "resolve": "resolve",
			"ssh": "ssh", "add-hosts": "add-host", "ulimit": "ulimit", "cache-from": "cache-from", "cache-to": "cache-to", "no-cache-filters": "no-cache-filter"},
		"next": {"next-paths": "path"},
		"scan": {"ignore-cves": "ignore", "resolve": "resolve"},
		"bump": {
			"paths": "path", "applications": "application", "targets": "target", "trailers": "trailer", "push-options": "push-option", "resolve": "resolve",
			"pr-labels": "pr-label", "pr-reviewers": "pr-reviewer", "pr-assignees": "pr-assignee",
		},
	} {
		for input, want := range lists {
			got := call(t, id, map[string]string{"images": "c:3", input: "\none two\n\n*\n"}, nil)
			if !strings.Contains(got, fmt.Sprintf("\n[--%s=one two]\n[--%[1]s=*]\n", want)) {
				t.Errorf("%s of %s: got\n%s", input, id, got)
			}
		}
	}
}

func TestCalls(t *testing.T) {
	const digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae"
	pushed := map[string]string{
		"steps.image.outputs.tags":   "harbor.example.com/a/b:1\nharbor.example.com/a/b:latest",
		"steps.image.outputs.digest": digest,
	}
	for _, tt := range []struct {
		name, step    string
		inputs, outer map[string]string
		want          string
	}{
		{"build", "image", map[string]string{"tags": "a/b:1", "password": "s3cret"}, nil,
			"harborpush\n[build]\n[--tag=a/b:1]\n[--push=true]\n[--]\n[.]\ns3cret, , \n"},
		{"build for two platforms", "image", map[string]string{"tags": "a/b:1", "platforms": "linux/amd64\nlinux/arm64\n"}, nil,
			"harborpush\n[build]\n[--tag=a/b:1]\n[--platform=linux/amd64,linux/arm64]\n[--push=true]\n[--]\n[.]\n, , \n"},
		{"build without a push", "image", map[string]string{"tags": "a/b:1", "push": "false", "context": "-app"}, nil,
			"harborpush\n[build]\n[--tag=a/b:1]\n[--push=false]\n[--]\n[-app]\n, , \n"},
		{"archive", "image", map[string]string{"tags": "a/b:1", "archive": "my image.tar"}, map[string]string{"env.HARBOR_PASSWORD": "outer"},
			"harborpush\n[push]\n[--tag=a/b:1]\n[--]\n[my image.tar]\nouter, , \n"},
		{"bump what was pushed", "bump", map[string]string{"tags": "a/b:1", "git-token": "t0ken"}, pushed,
			"imgbump\n[set]\n[--if-newer=true]\n[--push=true]\n[--]\n[harbor.example.com/a/b:1@" + digest + "]\n, t0ken, \n"},
		{"bump that and more", "bump", map[string]string{"tags": "a/b:1", "images": "old=new:2\nc:3"}, pushed,
			"imgbump\n[set]\n[--if-newer=true]\n[--push=true]\n[--]\n[harbor.example.com/a/b:1@" + digest + "]\n[old=new:2]\n[c:3]\n, , \n"},
		{"bump with a look at the registry", "bump", map[string]string{"images": "c:3", "username": "me", "password": "s3cret", "pin": "both", "check-exists": "true", "if-newer": "false"}, nil,
			"imgbump\n[set]\n[--username=me]\n[--pin=both]\n[--check-exists=true]\n[--if-newer=false]\n[--push=true]\n[--]\n[c:3]\ns3cret, , \n"},
		{"bump in the workspace", "bump", map[string]string{"images": "c:3", "commit": "false", "message": "one\n\ntwo"}, map[string]string{"env.IMGBUMP_TOKEN": "outer"},
			"imgbump\n[set]\n[--if-newer=true]\n[--push=false]\n[--message=one\n\ntwo]\n[--]\n[c:3]\n, outer, \n"},
		{"a pull request", "bump", map[string]string{"images": "c:3", "pr": "true"}, map[string]string{"github.token": "ghs"},
			"imgbump\n[set]\n[--if-newer=true]\n[--push=true]\n[--pr=true]\n[--]\n[c:3]\n, , ghs\n"},
		{"the job's own token is for pull requests", "bump", map[string]string{"images": "c:3"}, map[string]string{"github.token": "ghs"},
			"imgbump\n[set]\n[--if-newer=true]\n[--push=true]\n[--]\n[c:3]\n, , \n"},
		{"the job's own token is for GitHub's API", "bump", map[string]string{"images": "c:3", "via": "github-api"}, map[string]string{"github.token": "ghs"},
			"imgbump\n[set]\n[--if-newer=true]\n[--push=true]\n[--via=github-api]\n[--]\n[c:3]\n, , ghs\n"},
		{"an immutable tag that was left alone", "bump", map[string]string{"tags": "a/b:1", "images": "c:3"}, map[string]string{"steps.image.outputs.tags": "a/b:1"},
			"imgbump\n[set]\n[--if-newer=true]\n[--push=true]\n[--]\n[c:3]\n, , \n"},
		{"several archives", "image", map[string]string{"tags": "a/b:1", "archive": "amd64.tar\narm64.tar"}, nil,
			"harborpush\n[push]\n[--tag=a/b:1]\n[--]\n[amd64.tar]\n[arm64.tar]\n, , \n"},
		{"the next version", "next", map[string]string{"next": "patch", "create-tag": "true", "git-token": "t0ken"}, nil,
			"harborpush\n[next]\n[--bump=patch]\n[--push=true]\n, t0ken, \n"},
		{"a tag with that version", "image", map[string]string{"tags": "a/b:{version}\na/b:v{version}-x", "archive": "x.tar"}, map[string]string{"steps.next.outputs.version": "1.2.3"},
			"harborpush\n[push]\n[--tag=a/b:1.2.3]\n[--tag=a/b:v1.2.3-x]\n[--]\n[x.tar]\n, , \n"},
		{"scan", "scan", map[string]string{"fail-on": "high", "password": "s3cret"}, map[string]string{"steps.image.outputs.image": "h/a/b@" + digest},
			"harborpush\n[scan]\n[--fail-on=high]\n[--]\n[h/a/b@" + digest + "]\ns3cret, , \n"},
		{"wait for all", "wait", map[string]string{"wait": "true", "argocd-server": "argocd.example.com", "git-token": "t0ken"}, map[string]string{"steps.bump.outputs.commit": "abc"},
			"imgbump\n[wait]\n[--revision=abc]\n[--argocd-server=argocd.example.com]\n[--all-changed]\n, t0ken, \n"},
		{"wait for some", "wait", map[string]string{"wait": "\nslack\n-x y\n"}, map[string]string{"steps.bump.outputs.commit": "abc"},
			"imgbump\n[wait]\n[--revision=abc]\n[--]\n[slack]\n[-x y]\n, , \n"},
		{"what was not pushed is not bumped", "bump", map[string]string{"tags": "a/b:1", "push": "false", "images": "c:3"}, pushed,
			"imgbump\n[set]\n[--if-newer=true]\n[--push=true]\n[--]\n[c:3]\n, , \n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, call(t, tt.step, tt.inputs, tt.outer)); diff != "" {
				t.Error(diff)
			}
		})
	}
}
