package dockerfile_test

import (
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
)

var twoPlatforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}, {OS: "linux", Architecture: "arm64"}}

// buildBoth builds a case for two platforms, and counts how often each instruction is carried out.
func buildBoth(t *testing.T, c *testCase) (images []dockerfile.Image, times map[string]int) {
	t.Helper()
	var files []*dockerfile.File
	for _, p := range twoPlatforms {
		c.opts.Platform = p
		f, err := dockerfile.Parse("Dockerfile", c.dockerfile, c.opts)
		must(t, err)
		files = append(files, f)
	}
	root, err := os.OpenRoot(c.dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	times = map[string]int{}
	images, err = dockerfile.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: bases}, func(s dockerfile.Step) {
		if s.Done {
			times[s.Instruction]++
		}
	}, files...)
	must(t, err)
	return images, times
}

// TestPlatformsShare carries out once what no platform changes, and makes one layer of what holds the same.
func TestPlatformsShare(t *testing.T) {
	images, times := buildBoth(t, withFiles(t, `ARG NAME=x-$TARGETARCH
FROM --platform=$BUILDPLATFORM scratch AS tool
COPY x /tool
FROM --platform=$BUILDPLATFORM scratch AS cross
ARG TARGETARCH
COPY x /cross
FROM --platform=$BUILDPLATFORM scratch AS named
ARG NAME
COPY x /named
FROM --platform=$BUILDPLATFORM tool AS after
COPY --from=cross /cross /after
FROM scratch
COPY --from=tool /tool /
COPY --from=after /after /
COPY --from=named /named /
ARG TARGETARCH
COPY <<EOF /arch
$TARGETARCH
EOF`, map[string][]byte{"x": []byte("x")}))
	for instruction, want := range map[string]int{"COPY x /tool": 1, "COPY x /cross": 2, "COPY x /named": 2, "COPY --from=cross /cross /after": 2, "COPY --from=tool /tool /": 2} {
		if times[instruction] != want {
			t.Errorf("%s was carried out %d times, want %d", instruction, times[instruction], want)
		}
	}
	var layers [2][]v1.Layer
	for i, img := range images {
		var err error
		layers[i], err = img.Layers()
		must(t, err)
	}
	for i, same := range []bool{true, true, true, false} {
		if (layers[0][i] == layers[1][i]) != same {
			t.Errorf("layer %d: shared is %t, want %t", i, !same, same)
		}
	}
}

// ledgered builds a case, pushes nothing, and tells the layer's guess.
func ledgered(t *testing.T, c *testCase, ledger *image.Ledger) (guessed bool, digest v1.Hash) {
	t.Helper()
	img := c.build(t)
	must(t, image.Options{Ledger: ledger}.Apply(img))
	layers, err := img.Layers()
	must(t, err)
	digest, _, guessed = layers[0].(image.Pending).Guess()
	r, err := layers[0].Compressed()
	must(t, err)
	_, err = io.Copy(io.Discard, r)
	must(t, err)
	read, err := layers[0].Digest()
	must(t, err)
	if guessed && read != digest {
		t.Errorf("the layer was guessed to be %s, and is %s", digest, read)
	}
	return guessed, read
}

// TestLedger knows a layer again, unread, as long as nothing that it holds has changed; the time of the build does not count.
func TestLedger(t *testing.T) {
	c := withFiles(t, "FROM scratch\nCOPY --chown=1:1 x /deep/down/", map[string][]byte{"x": []byte("x")})
	old := time.Now().Add(-time.Hour)
	ledger := image.OpenLedger(filepath.Join(t.TempDir(), "ledger"))
	settled := dockerfile.SetLater(time.Second)
	guessed, first := ledgered(t, c, ledger)
	if guessed {
		t.Error("the layer is known before it was read")
	}
	c.opts.Created = c.opts.Created.Add(time.Hour)
	if guessed, again := ledgered(t, c, ledger); !guessed || again != first {
		t.Errorf("the same an hour later: known is %t, %s instead of %s", guessed, again, first)
	}
	for name, change := range map[string]func(){
		"owner":   func() { c.dockerfile = []byte("FROM scratch\nCOPY --chown=2:1 x /deep/down/\n") },
		"content": func() { must(t, os.WriteFile(filepath.Join(c.dir, "x"), []byte("y"), 0o644)) },
		"time":    func() { must(t, os.Chtimes(filepath.Join(c.dir, "x"), old, old)) },
	} {
		change()
		if guessed, _ := ledgered(t, c, ledger); guessed {
			t.Errorf("the layer is taken for the one before its %s changed", name)
		}
	}
	settled()
	must(t, os.WriteFile(filepath.Join(c.dir, "x"), []byte("z"), 0o644)) // just now: the next change may have the same time
	for range 2 {
		if guessed, _ := ledgered(t, c, ledger); guessed {
			t.Error("a file that was changed just now is known again")
		}
	}
}
