package layerdir_test

import (
	"archive/tar"
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
	"github.com/ksera524/imgbump/internal/without"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// needRoot leaves tests out where the process may not make devices and give files away.
func needRoot(t testing.TB) {
	t.Helper()
	if os.Geteuid() != 0 {
		without.Skip(t, "root")
	}
}

// noLeak wants as many files to be open at the test's end as now.
func noLeak(t *testing.T) {
	t.Helper()
	open := func() int {
		all, err := os.ReadDir("/proc/self/fd")
		must(t, err)
		return len(all)
	}
	before := open()
	t.Cleanup(func() {
		if after := open(); after != before {
			t.Errorf("%d files are open, %d were", after, before)
		}
	})
}

// pack is a layer's tar, by Entries and Write.
func pack(t *testing.T, dir string, below ...string) (tarred []byte, entries []*tar.Header) {
	t.Helper()
	entries, err := layerdir.Entries(t.Context(), dir, below...)
	must(t, err)
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	must(t, layerdir.Write(t.Context(), dir, entries, tw))
	must(t, tw.Close())
	return b.Bytes(), entries
}

// names are those of entries, as a tar has them.
func names(entries []*tar.Header) []string {
	var all []string
	for _, e := range entries {
		all = append(all, e.Name)
	}
	return all
}

// describe tells of everything below a directory what a layer can tell, but times of directories and links.
func describe(dir string) (map[string]string, error) {
	told := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		if err != nil || name == dir {
			return err
		}
		var st unix.Stat_t
		if err := unix.Lstat(name, &st); err != nil {
			return err
		}
		told[name[len(dir)+1:]], err = describeOne(name, &st)
		return err
	})
	return told, err
}

func describeOne(name string, st *unix.Stat_t) (string, error) {
	line := fmt.Sprintf("%o %d:%d", st.Mode, st.Uid, st.Gid)
	switch st.Mode & unix.S_IFMT {
	case unix.S_IFDIR:
		return line, nil
	case unix.S_IFREG:
		content, err := os.ReadFile(name)
		if err != nil {
			return "", err
		}
		line += fmt.Sprintf(" %d bytes %x", len(content), sha256.Sum256(content))[:30]
		buf := make([]byte, 64)
		if n, err := unix.Lgetxattr(name, "security.capability", buf); err == nil {
			line += fmt.Sprintf(" cap %x", buf[:n])
		}
	case unix.S_IFLNK:
		target, err := os.Readlink(name)
		if err != nil {
			return "", err
		}
		line += " -> " + target
	default:
		line += fmt.Sprintf(" %#x", st.Rdev)
	}
	return fmt.Sprintf("%s at %d", line, st.Mtim.Sec), nil
}

// linked are the groups of names that are one file, of those that entries tell.
func linked(t *testing.T, dir string, entries []*tar.Header) []string {
	t.Helper()
	groups := map[uint64][]string{}
	for _, e := range entries {
		if strings.Contains(e.Name, ".wh.") || e.Typeflag == tar.TypeDir {
			continue
		}
		var st unix.Stat_t
		must(t, unix.Lstat(filepath.Join(dir, e.Name), &st))
		groups[st.Ino] = append(groups[st.Ino], e.Name)
	}
	var all []string
	for _, g := range groups {
		if len(g) > 1 {
			all = append(all, strings.Join(g, " "))
		}
	}
	return slices.Sorted(slices.Values(all))
}

// capable is cap_net_raw+ep as the kernel keeps it.
var capable = []byte("\x01\x00\x00\x02\x00\x20\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00")

// scramble changes a tree at random, always in the same way for the same numbers. What fails is left as it is.
func scramble(root string, rnd *rand.Rand, steps int) {
	past := time.Unix(1600000000, 0)
	pick := func() string {
		parts := []string{root}
		for range 1 + rnd.IntN(3) {
			parts = append(parts, string(rune('a'+rnd.IntN(5))))
		}
		return filepath.Join(parts...)
	}
	for range steps {
		p, q := pick(), pick()
		content := bytes.Repeat([]byte{byte(rnd.IntN(3))}, 1+rnd.IntN(3))
		switch rnd.IntN(20) {
		case 0, 1, 2, 3:
			write(p, os.O_CREATE|os.O_TRUNC, content)
		case 4:
			write(p, os.O_APPEND, content)
		case 5:
			_ = os.Truncate(p, 200_000)
		case 6, 7:
			_ = os.MkdirAll(p, 0o750)
		case 8:
			if _, err := os.Lstat(p); err == nil { // else os.RemoveAll waits for a pipe that is its parent
				_ = os.RemoveAll(p)
			}
		case 9, 10:
			move(p, q)
		case 11:
			_ = os.Symlink(filepath.Base(q), p)
		case 12:
			_ = os.Link(p, q)
		case 13:
			chmod(p, 0o4711)
		case 14:
			_ = os.Lchown(p, rnd.IntN(2)*1000, 5)
		case 15:
			_ = unix.Setxattr(p, "security.capability", capable, 0)
			_ = unix.Setxattr(p, "user.mine", []byte("x"), 0)
		case 16:
			_ = unix.Mknod(p, unix.S_IFIFO|0o600, 0)
		case 17: // as it was, or with other content of the same size
			if st, err := os.Lstat(p); err == nil && st.Mode().IsRegular() && st.Size() < 100 {
				write(p, os.O_TRUNC, bytes.Repeat(content[:1], int(st.Size())))
				_ = os.Chtimes(p, past, st.ModTime())
			}
		case 18: // there and back
			chmod(p, 0o777)
			chmod(p, 0o644)
		case 19:
			if st, err := os.Lstat(p); err == nil && st.Mode().IsRegular() {
				_ = os.Chtimes(p, past, past)
			}
		}
	}
}

// write does not wait for the reader of a pipe.
func write(name string, flags int, content []byte) {
	if f, err := os.OpenFile(name, os.O_WRONLY|unix.O_NONBLOCK|flags, 0o644); err == nil {
		_, _ = f.Write(content)
		_ = f.Close()
	}
}

// chmod does not follow a link.
func chmod(name string, mode uint32) {
	if st, err := os.Lstat(name); err == nil && st.Mode()&fs.ModeSymlink == 0 {
		_ = unix.Chmod(name, mode)
	}
}

// move renames, also onto something of another kind, and copies what overlayfs will not rename, as mv does.
func move(from, to string) {
	if from == to || strings.HasPrefix(from, to+"/") || strings.HasPrefix(to, from+"/") {
		return
	}
	err := os.Rename(from, to)
	if !errors.Is(err, unix.EXDEV) {
		return
	}
	if os.Mkdir(to, 0o750) != nil {
		return
	}
	inside, _ := os.ReadDir(from)
	for _, e := range inside {
		move(filepath.Join(from, e.Name()), filepath.Join(to, e.Name()))
	}
	_ = os.Remove(from)
}

// tarOf is a tar of entries; those of regular files hold their name.
func tarOf(t *testing.T, entries ...tar.Header) *bytes.Reader {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, e := range entries {
		if e.Typeflag == 0 {
			e.Typeflag = tar.TypeReg
		}
		if e.Typeflag == tar.TypeReg {
			e.Size = int64(len(e.Name))
		}
		must(t, tw.WriteHeader(&e))
		if e.Typeflag == tar.TypeReg {
			_, err := tw.Write([]byte(e.Name))
			must(t, err)
		}
	}
	must(t, tw.Close())
	return bytes.NewReader(b.Bytes())
}
