package ship

import (
	"archive/tar"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

func TestParseAddition(t *testing.T) {
	for typed, want := range map[string]Addition{
		"dist:/srv":                        {From: "dist", To: "/srv"},
		"app:/bin/:mode=0755":              {From: "app", To: "/bin/", Mode: 0o755},
		"app:/bin:owner=1000":              {From: "app", To: "/bin", UID: 1000, GID: 1000},
		"app:/a:b:owner=1000:7,mode=4755":  {From: "app", To: "/a:b", UID: 1000, GID: 7, Mode: 0o4755},
		"app:/bin:mode=0644,owner=65534:0": {From: "app", To: "/bin", UID: 65534, Mode: 0o644},
	} {
		if got, err := ParseAddition(typed); err != nil || !cmp.Equal(got, want, cmp.AllowUnexported(Addition{})) {
			t.Errorf("%s: %+v, %v", typed, got, err)
		}
	}
	for _, typed := range []string{"", "app", ":/app", "app:", "app:/x:mode=", "app:/x:mode=8", "app:/x:mode=10000", "app:/x:owner=me", "app:/x:owner=1:you", "app:/x:owner=-1", "app:/x:mode=644,colour=red"} {
		if _, err := ParseAddition(typed); fault.KindOf(err) != fault.Usage || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", typed, err)
		}
	}
}

// entries are the headers of what an addition adds, as "type name linkname".
func entries(t *testing.T, a Addition) (all []string) {
	t.Helper()
	l, err := a.layer(t.Context(), &ground{}, time.Time{}, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	r, err := l.Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, strings.TrimSpace(string(h.Typeflag)+" "+h.Name+" "+h.Linkname))
	}
}

func TestAddition(t *testing.T) {
	dir := t.TempDir()
	write := func(name string) {
		t.Helper()
		if err := errors.Join(os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755), os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	write("src/a")
	write("src/sub/b")
	write("secret")
	if err := errors.Join(os.Link(filepath.Join(dir, "src/a"), filepath.Join(dir, "src/sub/same")), os.Symlink("../secret", filepath.Join(dir, "src/out")),
		os.Symlink("src", filepath.Join(dir, "link")), os.Mkdir(filepath.Join(dir, "empty"), 0o755)); err != nil {
		t.Fatal(err)
	}
	content := []string{"5 srv/", "0 srv/a", "2 srv/out ../secret", "5 srv/sub/", "0 srv/sub/b", "1 srv/sub/same srv/a"}
	for name, tt := range map[string]struct {
		add  Addition
		want []string
	}{
		"a folder":              {Addition{From: "src", To: "/srv"}, content},
		"through a link":        {Addition{From: "link", To: "srv/"}, content},
		"with an owner":         {Addition{From: "src", To: "/srv", UID: 1}, content},
		"to the top":            {Addition{From: "src/sub", To: "/", Mode: 0o644}, []string{"0 b", "0 same"}},
		"above the top":         {Addition{From: "src/sub", To: "../../x"}, []string{"5 x/", "0 x/b", "0 x/same"}},
		"nothing":               {Addition{From: "empty", To: "/srv"}, []string{"5 srv/"}},
		"a file":                {Addition{From: "src/a", To: "/srv/app"}, []string{"5 srv/", "0 srv/app"}},
		"a file into a folder":  {Addition{From: "src/a", To: "/srv/"}, []string{"5 srv/", "0 srv/a"}},
		"a file through a link": {Addition{From: "src/out", To: "/srv/"}, []string{"5 srv/", "0 srv/out"}},
	} {
		tt.add.From = filepath.Join(dir, tt.add.From)
		if diff := cmp.Diff(tt.want, entries(t, tt.add)); diff != "" {
			t.Errorf("%s: %s", name, diff)
		}
	}
}

// TestKnownAgain knows a layer by the state of its files, and not when that is another one, or too young to tell.
func TestKnownAgain(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "a")
	if err := os.WriteFile(file, []byte("one"), 0o644); err != nil {
		t.Fatal(err)
	}
	stat, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	ledger := image.OpenLedger(filepath.Join(t.TempDir(), "layers.json"))
	known := func(a Addition, later time.Duration) bool {
		t.Helper()
		l, err := a.layer(t.Context(), &ground{}, time.Time{}, time.Now().Add(later))
		if err != nil {
			t.Fatal(err)
		}
		pending := l.(image.Pending)
		made, err := mutate.AppendLayers(empty.Image, l)
		if err != nil {
			t.Fatal(err)
		}
		if err := (image.Options{Ledger: ledger}).Apply(made); err != nil {
			t.Fatal(err)
		}
		_, _, ok := pending.Guess()
		if err := pending.Settle(); err != nil {
			t.Fatal(err)
		}
		return ok
	}
	a := Addition{From: dir, To: "/srv"}
	for i, tt := range []struct {
		add   Addition
		later time.Duration
		want  bool
	}{
		{a, time.Second, false}, {a, time.Second, true}, {a, 0, false},
		{Addition{From: dir, To: "/other"}, time.Second, false}, {Addition{From: dir, To: "/srv", Mode: 0o600}, time.Second, false},
	} {
		if got := known(tt.add, tt.later); got != tt.want {
			t.Errorf("%d: known %v, want %v", i, got, tt.want)
		}
	}
	// The same size and time, which programs can set; when it was changed they cannot.
	if err := errors.Join(os.WriteFile(file, []byte("two"), 0o644), os.Chtimes(file, stat.ModTime(), stat.ModTime())); err != nil {
		t.Fatal(err)
	}
	if known(a, time.Second) {
		t.Error("another content was taken for the old one")
	}
}

// TestChangedMeanwhile refuses a file that is not as long any more as the walk saw it.
func TestChangedMeanwhile(t *testing.T) {
	for _, content := range []string{"shorter", "much longer than before"} {
		file := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(file, []byte("as it was before"), 0o644); err != nil {
			t.Fatal(err)
		}
		l, err := Addition{From: file, To: "/a"}.layer(t.Context(), &ground{}, time.Time{}, time.Now())
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := l.(image.Pending).Settle(); !errors.Is(err, image.ErrChanged) || !strings.Contains(err.Error(), file) {
			t.Errorf("%q: %v", content, err)
		}
	}
}
