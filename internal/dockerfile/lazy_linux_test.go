package dockerfile_test

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"
)

// TestNarrowCopy wants of a context of 20,000 files only what COPY names to be opened. The kernel counts.
func TestNarrowCopy(t *testing.T) {
	c := withFiles(t, "FROM scratch\nCOPY src/123*.txt go.mod /\nCOPY --parents src/777.txt /p/", map[string][]byte{"go.mod": []byte("module")})
	src := filepath.Join(c.dir, "src")
	must(t, os.Mkdir(src, 0o755))
	for i := range 20000 {
		must(t, os.WriteFile(filepath.Join(src, fmt.Sprint(i, ".txt")), []byte("x"), 0o644))
	}
	events, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	must(t, err)
	defer unix.Close(events)
	for _, dir := range []string{c.dir, src} {
		_, err = unix.InotifyAddWatch(events, dir, unix.IN_OPEN)
		must(t, err)
	}
	describe(t, c.build(t))
	opened := map[string]bool{}
	for buf := make([]byte, 1<<20); ; {
		n, err := unix.Read(events, buf)
		if err != nil || n <= 0 {
			break
		}
		for at := 0; at < n; {
			mask, size := binary.NativeEndian.Uint32(buf[at+4:]), int(binary.NativeEndian.Uint32(buf[at+12:]))
			if mask&unix.IN_Q_OVERFLOW != 0 {
				t.Fatal("too much was opened to be counted")
			}
			if mask&unix.IN_ISDIR == 0 {
				opened[strings.TrimRight(string(buf[at+16:at+16+size]), "\x00")] = true
			}
			at += 16 + size
		}
	}
	var got []string
	for name := range opened {
		got = append(got, name)
	}
	slices.Sort(got)
	want := []string{"123.txt", "777.txt", "go.mod"}
	for i := range 20000 {
		if name := fmt.Sprint(i, ".txt"); strings.HasPrefix(name, "123") && name != "123.txt" {
			want = append(want, name)
		}
	}
	slices.Sort(want)
	if d := diff.Diff(want, got); d != "" {
		t.Error("-named +opened\n", d)
	}
}
