package actiontest

import (
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/gittest"
)

// runner is nektos/act without Docker: the steps of a workflow run on this machine, in a copy of a folder.
type runner struct {
	dir string // the repository
	env []string
}

// newRunner has a repository with the action in it.
func newRunner(t *testing.T) *runner {
	t.Helper()
	r := &runner{dir: t.TempDir(), env: []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}}
	for _, name := range []string{"action.yml", "action/start.sh", "action/run.sh"} {
		r.copy(t, filepath.Join(root, name), name)
	}
	return r
}

func (r *runner) write(t *testing.T, name, content string) {
	t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		t.Fatal(err)
	}
}

func (r *runner) copy(t *testing.T, from, name string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	r.write(t, name, string(data))
}

func (r *runner) git(t *testing.T, args ...string) {
	t.Helper()
	if _, err := gittest.Git(r.dir, args...); err != nil {
		t.Fatal(err)
	}
}

// act runs a workflow for a push, and answers with the log.
func (r *runner) act(t *testing.T, workflow string, args ...string) (string, error) {
	t.Helper()
	cmd := exec.Command(tool(t, "act"), append([]string{"push", "-W", workflow, "-P", "self-hosted=-self-hosted",
		"-P", "k8s-myhome-runners=-self-hosted", "--no-cache-server"}, args...)...)
	cmd.Dir, cmd.Env = r.dir, r.env
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// conditions runs testdata/conditions.yml for an event, and answers with what the cases wrote down.
func conditions(t *testing.T, event string) string {
	t.Helper()
	r := newRunner(t)
	r.copy(t, "testdata/conditions.yml", "conditions.yml")
	r.write(t, "event.json", event)
	r.write(t, "bin/harborpush", "#!/bin/sh\necho harborpush \"$1\" >>\"$RECORD\"\n"+
		"echo tags=example.com/a/b:1 >>\"$GITHUB_OUTPUT\"\necho digest=sha256:1 >>\"$GITHUB_OUTPUT\"\necho image=example.com/a/b@sha256:1 >>\"$GITHUB_OUTPUT\"\n")
	r.write(t, "bin/imgbump", "#!/bin/sh\necho imgbump \"$*\" >>\"$RECORD\"\n"+
		"echo changed=true >>\"$GITHUB_OUTPUT\"\necho commit=abc >>\"$GITHUB_OUTPUT\"\n")
	record := filepath.Join(r.dir, "record")
	r.git(t, "init", "--quiet")
	r.git(t, "add", ".")
	r.git(t, "commit", "--quiet", "--message=all")
	log, err := r.act(t, "conditions.yml", "-e", "event.json", "--env", "IMGBUMP_BIN="+filepath.Join(r.dir, "bin"), "--env", "RECORD="+record)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}
	got, err := os.ReadFile(record)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return string(got)
}

func TestWhichHalvesRun(t *testing.T) {
	const want = `all of it
harborpush build
imgbump set --if-newer=true --push=true -- example.com/a/b:1@sha256:1
{
  "changed": "true",
  "commit": "abc",
  "digest": "sha256:1",
  "image": "example.com/a/b@sha256:1",
  "metadata": "",
  "pull-request": "",
  "release": "",
  "tags": "example.com/a/b:1",
  "version": ""
}
a pull request
harborpush build
changed false
a pull request with an archive
changed false
an archive
harborpush push
imgbump set --if-newer=true --push=true -- example.com/a/b:1@sha256:1
no bump
harborpush build
no image
imgbump set --if-newer=true --push=true -- c/d:2
wait
imgbump set --if-newer=true --push=true -- c/d:2
imgbump wait --revision=abc --all-changed
wait for nothing
imgbump set --if-newer=true --push=true -- c/d:2
imgbump set --if-newer=true --push=true --all-targets=true -- c/d:2
`
	if diff := cmp.Diff(want, conditions(t, `{"head_commit": {"message": "A change"}}`)); diff != "" {
		t.Error(diff)
	}
}

func TestNothingRunsForOurOwnCommit(t *testing.T) {
	const want = `all of it
{
  "changed": "false",
  "commit": "",
  "digest": "",
  "image": "",
  "metadata": "",
  "pull-request": "",
  "release": "",
  "tags": "",
  "version": ""
}
`
	got := conditions(t, `{"head_commit": {"message": "Bump a/b to 1\n\nImgbump: v1"}}`)
	if !strings.HasPrefix(got, want) || strings.Contains(got, "harborpush") || strings.Contains(got, "imgbump") {
		t.Errorf("got\n%s", got)
	}
}
