package main

import (
	"os/exec"
	"strings"
	"testing"
)

// TestDemo runs the demonstration as README says, and looks for what it promises to show.
func TestDemo(t *testing.T) {
	out, err := exec.Command("go", "run", ".").CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, want := range []string{
		"compiled ", "/sandbox/rss:1.5.0@sha256:", "1 file changed, 2 insertions(+), 2 deletions(-)", "\n-          image: harbor",
		"Imgbump: v1", "nothing to change", "all of it, without compiling: ",
	} {
		if !strings.Contains(string(out), want) {
			t.Errorf("it does not show %q:\n%s", want, out)
		}
	}
	if strings.Contains(string(out), secret) {
		t.Error("it shows the password")
	}
}
