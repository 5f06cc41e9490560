package layerdir_test

import (
	"archive/tar"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
)

// TestLook wants the kernel's clock to have moved on when a snapshot is there: what changes from then on differs.
func TestLook(t *testing.T) {
	root := t.TempDir()
	for range 20 {
		name := filepath.Join(root, "x")
		must(t, os.WriteFile(name, nil, 0o644))
		_, err := layerdir.Look(t.Context(), root)
		must(t, err)
		var now unix.Timespec
		must(t, unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now))
		var st unix.Stat_t
		must(t, unix.Stat(name, &st))
		if now.Nano() <= st.Ctim.Nano() {
			t.Fatalf("it is %d, and the file changed at %d", now.Nano(), st.Ctim.Nano())
		}
	}
}

// TestDiff wants marks where something went that is below.
func TestDiff(t *testing.T) {
	needRoot(t)
	root, into := layer(t, file("a"), file("b/x"), file("c/x"), file("d/x"), file("f"), file("g/h/x")), filepath.Join(t.TempDir(), "into")
	before, err := layerdir.Look(t.Context(), root)
	must(t, err)
	at := func(name string) string { return filepath.Join(root, name) }
	must(t, os.Remove(at("a")))
	must(t, os.Rename(at("b"), at("e")))
	must(t, os.Rename(at("e"), at("n"))) // so that its inode stays taken
	must(t, os.Mkdir(at("b"), 0o755))
	must(t, os.RemoveAll(at("c")))
	must(t, os.WriteFile(at("c"), nil, 0o644))
	must(t, os.Remove(at("f")))
	must(t, os.Mkdir(at("f"), 0o755))
	must(t, os.Remove(at("g/h/x")))
	must(t, unix.Mknod(at("d/mark"), unix.S_IFCHR, 1)) // as a step can make it, also on overlayfs
	must(t, os.WriteFile(at("gone"), nil, 0o644))
	must(t, os.Remove(at("gone")))
	after, err := layerdir.Diff(t.Context(), root, before, into)
	must(t, err)
	if have := shape(t, into); have != "a? b/! c d/ f/! g/ g/h/ g/h/x? n/ n/x" {
		t.Error(have)
	}
	again := filepath.Join(t.TempDir(), "again")
	_, err = layerdir.Diff(t.Context(), root, after, again)
	must(t, err)
	if have := shape(t, again); have != "" {
		t.Errorf("without a change there is %s", have)
	}
}

// TestDirectories wants the attributes of directories, and their times in spite of what is put into them.
func TestDirectories(t *testing.T) {
	needRoot(t)
	at := time.Unix(1500000000, 5)
	base := layer(t, tar.Header{Name: "d", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: at, Format: tar.FormatPAX}, file("d/x"))
	root, into := composed(t, []string{base}), filepath.Join(t.TempDir(), "into")
	before, err := layerdir.Look(t.Context(), root)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(root, "d/x"), []byte("other"), 0o644))
	must(t, os.Mkdir(filepath.Join(root, "e"), 0o755))
	_, err = layerdir.Diff(t.Context(), root, before, into)
	must(t, err)
	for _, dir := range []string{base, root, into, composed(t, []string{base, into})} {
		if st, err := os.Stat(filepath.Join(dir, "d")); err != nil || !st.ModTime().Equal(at) {
			t.Errorf("%v: %v", st.ModTime(), err)
		}
	}
	before, err = layerdir.Look(t.Context(), root)
	must(t, err)
	must(t, os.Chown(filepath.Join(root, "d"), 7, -1))
	must(t, os.Chown(filepath.Join(root, "e"), -1, 7))
	again := filepath.Join(t.TempDir(), "again")
	_, err = layerdir.Diff(t.Context(), root, before, again)
	must(t, err)
	if _, entries := pack(t, again, base, into); len(entries) != 2 || entries[0].Uid != 7 || entries[1].Gid != 7 {
		t.Errorf("%+v", entries)
	}
}

// TestCancelled wants everything to end with its context.
func TestCancelled(t *testing.T) {
	needRoot(t)
	noLeak(t)
	root := layer(t, file("d/x"))
	_, entries := pack(t, root)
	before, err := layerdir.Look(t.Context(), t.TempDir())
	must(t, err)
	ctx, cancel := context.WithCancelCause(t.Context())
	enough := errors.New("enough")
	cancel(enough)
	_, looked := layerdir.Look(ctx, root)
	_, diffed := layerdir.Diff(ctx, root, before, filepath.Join(t.TempDir(), "into"))
	_, listed := layerdir.Entries(ctx, root)
	copied := layerdir.Compose(ctx, filepath.Join(t.TempDir(), "copy"), root)
	written := layerdir.Write(ctx, root, entries, tar.NewWriter(io.Discard))
	for _, err := range []error{looked, diffed, listed, copied, written} {
		if !errors.Is(err, enough) {
			t.Errorf("%v", err)
		}
	}
}

// TestDeep wants directories deeper than a layer may have them to be an error that says so, and no crash.
func TestDeep(t *testing.T) {
	needRoot(t)
	noLeak(t)
	root, name := t.TempDir(), strings.Repeat("d/", 300)
	before, err := layerdir.Look(t.Context(), root)
	must(t, err)
	must(t, os.MkdirAll(filepath.Join(root, name), 0o755))
	_, looked := layerdir.Look(t.Context(), root)
	_, diffed := layerdir.Diff(t.Context(), root, before, filepath.Join(t.TempDir(), "into"))
	_, listed := layerdir.Entries(t.Context(), root)
	copied := layerdir.Compose(t.Context(), filepath.Join(t.TempDir(), "copy"), root)
	for _, err := range []error{looked, diffed, listed, copied} {
		if err == nil || !strings.Contains(err.Error(), "256 directories") || len(err.Error()) > 300 {
			t.Errorf("%.400v", err)
		}
	}
}
