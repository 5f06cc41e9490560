//go:build linux

package sandbox_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// Nobody waits for a disk at the end of a step: neither for its own changes nor for those of mounts.
func TestNothingIsBroughtToTheDisk(t *testing.T) {
	s := open(t, sandbox.UserNamespace)
	p := shell("grep ' overlay .*upperdir' /proc/mounts")
	p.Mounts = []step.Mount{{Kind: step.Bind, Layers: []string{"base"}, Source: "/bin", Target: "/mnt"}}
	got, err := output(t, s, p)
	if err != nil || strings.Count(got, "\n") != 2 || strings.Count(got, "volatile") != 2 {
		t.Errorf("%v: %s", err, got)
	}
}

// The folders of a store lie where ext4 finds room for many files at once, and those of two stores not in the same place:
// ext4 chooses it by their names.
func TestScattered(t *testing.T) {
	store := func() (dir string, names map[string]bool) {
		folder, _ := opened.Load(open(t, sandbox.Chroot))
		entries, err := filepath.Glob(filepath.Join(folder.(string), "*", "*"))
		if err != nil || len(entries) < 3 {
			t.Fatalf("%v, %v", entries, err)
		}
		names = map[string]bool{}
		for _, e := range entries {
			names[filepath.Base(e)] = true
		}
		return filepath.Dir(entries[0]), names
	}
	dir, names := store()
	_, others := store()
	for name := range names {
		if others[name] && name != "0" && name != "lock" {
			t.Errorf("two stores have %s", name)
		}
	}
	var fs unix.Statfs_t
	if err := unix.Statfs(dir, &fs); err != nil || fs.Type != unix.EXT4_SUPER_MAGIC {
		t.Skipf("not run further: needs ext4 for temporary files (%v)", err)
	}
	f, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if flags, err := unix.IoctlGetInt(int(f.Fd()), unix.FS_IOC_GETFLAGS); err != nil || flags&0x20000 == 0 { // FS_TOPDIR_FL
		t.Errorf("the store is no top directory: %#x, %v", flags, err)
	}
}
