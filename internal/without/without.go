// Package without says what becomes of a test without something that it needs: on a laptop it is skipped by name, and where CI
// is true, as on a CI server, nothing may be lacking and it fails.
package without

import (
	"os"
	"os/exec"
	"testing"
)

// Skip ends a test that cannot run without what, which also says where that comes from.
func Skip(t testing.TB, what string) {
	t.Helper()
	if Strict() {
		t.Fatalf("needs %s", what)
	}
	t.Skipf("not run: needs %s", what)
}

// Strict reports whether nothing may be lacking.
func Strict() bool { return os.Getenv("CI") == "true" }

// Program is the path of a program, without which the test cannot run; from says where it comes from.
func Program(t testing.TB, name, from string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		Skip(t, name+" on PATH: "+from)
	}
	return path
}
