package tempdir_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/ksera524/imgbump/internal/sandbox/tempdir"
)

// What is in use stays, and so does what is of another prefix or no folder; what was left goes.
func TestClean(t *testing.T) {
	parent := t.TempDir()
	used, err := tempdir.New(parent, "a-")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{"a-left/full", "b-other"} {
		if err := os.MkdirAll(filepath.Join(parent, dir), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("b-other", filepath.Join(parent, "a-link")); err != nil {
		t.Fatal(err)
	}
	names := func() (all []string) {
		entries, err := os.ReadDir(parent)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			all = append(all, e.Name())
		}
		return all
	}
	tempdir.Clean(parent, "a-")
	want := []string{filepath.Base(used.Path), "a-link", "b-other"}
	slices.Sort(want)
	if got := names(); !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
	if err := used.Remove(); err != nil {
		t.Error(err)
	}
	if got := names(); !slices.Equal(got, []string{"a-link", "b-other"}) {
		t.Errorf("%q are left", got)
	}
}
