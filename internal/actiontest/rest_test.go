package actiontest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// With commit set to false the inputs about the commit rest: a workflow that commits on some branches only keeps them.
func TestInputsRestWithoutACommit(t *testing.T) {
	inputs := map[string]string{
		"commit": "false", "images": "team/app:2", "if-newer": "false", "message": "x", "trailers": "A: b", "author": "A <a@example.com>", "sign-off": "true",
		"sign-format": "ssh", "commit-per": "image", "max-attempts": "3", "timeout": "1m", "branch": "main", "push-options": "ci.skip",
		"on-protected": "pr", "pr": "false", "pr-title": "x", "pr-draft": "true", "git-username": "x", "app-id": "1", "known-hosts": "x", "remote": "upstream",
	}
	lines := strings.Split(call(t, "bump", inputs, nil), "\n")
	var args []string
	for _, line := range lines {
		if arg, ok := strings.CutPrefix(line, "["); ok {
			args = append(args, strings.TrimSuffix(arg, "]"))
		}
	}
	cmd := exec.Command(filepath.Join(binaries(t), "imgbump"), args...)
	cmd.Dir = t.TempDir()
	if err := os.WriteFile(filepath.Join(cmd.Dir, "a.yaml"), []byte("image: team/app:1\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %v\n%s", args, err, out)
	}
	data, err := os.ReadFile(filepath.Join(cmd.Dir, "a.yaml"))
	if err != nil || string(data) != "image: team/app:2\n" {
		t.Errorf("%v, a.yaml holds %q", err, data)
	}
}
