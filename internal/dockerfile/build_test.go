package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
)

var update = flag.Bool("update", false, "rewrite what testdata/build expects")

var (
	written = time.Date(2024, 1, 2, 3, 4, 5, 678, time.UTC) // mtime of everything in a test's context
	created = time.Date(2025, 6, 7, 8, 9, 10, 0, time.UTC)
)

// TestBuild builds testdata/build/*.txtar. A file's comment sets the stage (chmod, symlink, link, target, arg,
// label, platform); its files are the context; want is the image: layers of its own, config and history.
func TestBuild(t *testing.T) {
	files, err := filepath.Glob("testdata/build/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			archive, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			c := newCase(t, archive)
			got := describe(t, c.build(t))
			if again := describe(t, c.build(t)); again != got {
				t.Error("a second build differs:\n", diff.Diff(got, again))
			}
			if *update {
				c.rewrite(t, file, got)
			} else if d := diff.Diff(c.want, got); d != "" {
				t.Error("-want +got\n", d)
			}
		})
	}
}

// testCase is a Dockerfile with its context on disk.
type testCase struct {
	archive    *txtar.Archive
	dockerfile []byte
	ignore     []byte
	want       string
	opts       dockerfile.Options
	dir        string
}

func newCase(t *testing.T, archive *txtar.Archive) *testCase {
	t.Helper()
	c := &testCase{archive: archive, dir: t.TempDir(), opts: dockerfile.Options{
		Platform: v1.Platform{OS: "linux", Architecture: "amd64"}, Created: created,
		Args: map[string]string{}, Labels: map[string]string{},
	}}
	for _, f := range archive.Files {
		switch f.Name {
		case "want":
			c.want = string(f.Data)
			continue
		case "Dockerfile":
			c.dockerfile = f.Data
		case ".dockerignore":
			c.ignore = f.Data
		}
		name := filepath.Join(c.dir, filepath.FromSlash(f.Name))
		must(t, os.MkdirAll(filepath.Dir(name), 0o755))
		must(t, os.WriteFile(name, f.Data, 0o644))
	}
	for line := range strings.Lines(string(archive.Comment)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			c.set(t, words)
		}
	}
	must(t, filepath.WalkDir(c.dir, func(name string, d os.DirEntry, err error) error {
		if err != nil || d.Type()&os.ModeSymlink != 0 {
			return err
		}
		return os.Chtimes(name, written, written)
	}))
	return c
}

func (c *testCase) set(t *testing.T, words []string) {
	t.Helper()
	path := func(i int) string { return filepath.Join(c.dir, words[i]) }
	switch words[0] {
	case "chmod":
		mode, err := strconv.ParseUint(words[1], 8, 32)
		must(t, err)
		must(t, syscall.Chmod(path(2), uint32(mode)))
	case "symlink":
		must(t, os.Symlink(words[2], path(1)))
	case "link":
		must(t, os.Link(path(2), path(1)))
	case "target":
		c.opts.Target = words[1]
	case "platform":
		p, err := v1.ParsePlatform(words[1])
		must(t, err)
		c.opts.Platform = *p
	case "arg", "label":
		name, value, _ := strings.Cut(words[1], "=")
		map[string]map[string]string{"arg": c.opts.Args, "label": c.opts.Labels}[words[0]][name] = value
	default:
		t.Fatalf("unknown command %q", words)
	}
}

func (c *testCase) build(t *testing.T) v1.Image {
	t.Helper()
	img, err := c.tryBuild(t)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

func (c *testCase) tryBuild(t *testing.T) (v1.Image, error) {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", c.dockerfile, c.opts)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(c.dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Ignore: c.ignore, Base: bases}, nil)
}

func (c *testCase) rewrite(t *testing.T, file, got string) {
	t.Helper()
	kept := c.archive.Files[:0]
	for _, f := range c.archive.Files {
		if f.Name != "want" {
			kept = append(kept, f)
		}
	}
	c.archive.Files = append(kept, txtar.File{Name: "want", Data: []byte(got)})
	must(t, os.WriteFile(file, txtar.Format(c.archive), 0o644))
}

// bases are the images of the tests' FROMs.
func bases(_ context.Context, ref string, platform v1.Platform) (v1.Image, error) {
	switch ref {
	case "debian:12": // merged /usr, an absolute link, a user, and a second layer that takes things away
		return baseImage(platform, types.OCIManifestSchema1, v1.Config{Env: []string{"LANG=C"}, Cmd: []string{"bash"}, WorkingDir: "/"},
			"d 755 etc/", "d 755 usr/", "d 755 usr/bin/", "l bin -> usr/bin", "f usr/bin/bash 755 #!", "h usr/bin/sh -> usr/bin/bash",
			"d 755 run/", "d 755 var/", "l var/run -> /run", "d 1777 tmp/", "d 755 opt/", "f opt/gone 644 x", "d 755 opt/old/", "f opt/old/a 644 a",
			"f etc/passwd 644 root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n",
			"f etc/group 644 root:x:0:\napp:x:1001:\nstaff:x:50:\n", "==",
			"f opt/.wh.gone 0 ", "f opt/old/.wh..wh..opq 0 ", "f opt/old/b 644 b")
	case "docker:1": // Docker's media types, and what else a base may hand down
		return baseImage(platform, types.DockerManifestSchema2, v1.Config{Entrypoint: []string{"/init"}, Cmd: []string{"run"}, User: "7",
			WorkingDir: "/srv", OnBuild: []string{"COPY hello /onbuild/"}, Labels: map[string]string{"of": "base"}, Hostname: "builder"},
			"d 755 srv/", "f srv/x 600 x")
	case "onbuild-run:1":
		return baseImage(platform, types.OCIManifestSchema1, v1.Config{OnBuild: []string{"RUN make"}})
	case "evil:1":
		return baseImage(platform, types.OCIManifestSchema1, v1.Config{}, "l up -> ../../../../../../etc", "l abs -> /etc",
			"l loop -> loop", "d 755 etc/", "f ../../etc/passwd 644 caught", "f etc/kept 644 kept")
	}
	return nil, errors.New("no such image: " + ref)
}

func baseImage(p v1.Platform, family types.MediaType, config v1.Config, entries ...string) (v1.Image, error) {
	configType := types.OCIConfigJSON
	if family == types.DockerManifestSchema2 {
		configType = types.DockerConfigJSON
	}
	img := mutate.ConfigMediaType(mutate.MediaType(empty.Image, family), configType)
	img, err := mutate.ConfigFile(img, &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant,
		Author: "base", Container: "c0ffee", RootFS: v1.RootFS{Type: "layers"}, Config: config})
	if err != nil {
		return nil, err
	}
	img = mutate.Annotations(img, map[string]string{"org.opencontainers.image.created": "long ago"}).(v1.Image)
	var adds []mutate.Addendum
	for text := range strings.SplitSeq(strings.Join(entries, "\x00"), "\x00==\x00") {
		l := image.NewLayer(func(tw *tar.Writer) error { return writeEntries(tw, strings.Split(text, "\x00")) })
		r, err := l.Compressed()
		if err != nil {
			return nil, err
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			return nil, err
		}
		if family == types.DockerManifestSchema2 {
			l = dockerLayer{l}
		}
		adds = append(adds, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: "base"}})
	}
	return mutate.Append(img, adds...)
}

type dockerLayer struct{ v1.Layer }

func (dockerLayer) MediaType() (types.MediaType, error) { return types.DockerLayer, nil }

// writeEntries writes "d MODE NAME", "l NAME -> TARGET", "h NAME -> TARGET" and "f NAME MODE TEXT".
func writeEntries(tw *tar.Writer, entries []string) error {
	for _, e := range entries {
		if e == "" {
			continue
		}
		words := strings.SplitN(e, " ", 4)
		hdr := &tar.Header{Name: words[1], Mode: 0o777, ModTime: written}
		text := ""
		switch words[0] {
		case "d":
			hdr.Typeflag, hdr.Name = tar.TypeDir, words[2]
			hdr.Mode, _ = strconv.ParseInt(words[1], 8, 64)
		case "l":
			hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, words[3]
		case "h":
			hdr.Typeflag, hdr.Linkname = tar.TypeLink, words[3]
		case "f":
			text = words[3]
			hdr.Typeflag, hdr.Size = tar.TypeReg, int64(len(text))
			hdr.Mode, _ = strconv.ParseInt(words[2], 8, 64)
		}
		if err := tw.WriteHeader(hdr); err != nil {
			return err
		}
		if _, err := io.WriteString(tw, text); err != nil {
			return err
		}
	}
	return nil
}

// describe reads an image as a push would, once, and says what is in it.
func describe(t *testing.T, img v1.Image) string {
	t.Helper()
	layers, err := img.Layers()
	must(t, err)
	for _, l := range layers {
		r, err := l.Compressed()
		must(t, err)
		_, err = io.Copy(io.Discard, r)
		must(t, err)
		must(t, r.Close())
	}
	must(t, validate.Image(img))
	config, err := img.ConfigFile()
	must(t, err)
	var out strings.Builder
	for i, l := range layers {
		if config.History[i].CreatedBy != "base" {
			tr, err := l.Uncompressed()
			must(t, err)
			fmt.Fprintf(&out, "layer %d\n%s", i, list(t, tr))
		}
	}
	for _, h := range config.History {
		empty := ""
		if h.EmptyLayer {
			empty = " (empty)"
		}
		fmt.Fprintf(&out, "%s%s\n", h.CreatedBy, empty)
	}
	if !config.Created.Equal(created) {
		t.Errorf("created %s", config.Created)
	}
	if config.Container != "" || config.Config.Hostname != "" {
		t.Errorf("the base's own container was kept: %q %q", config.Container, config.Config.Hostname)
	}
	manifest, err := img.Manifest()
	must(t, err)
	if len(manifest.Annotations) > 0 {
		t.Errorf("the base's annotations were kept: %v", manifest.Annotations)
	}
	for _, l := range manifest.Layers {
		if want := map[types.MediaType]types.MediaType{types.OCIManifestSchema1: types.OCILayer, types.DockerManifestSchema2: types.DockerLayer}[manifest.MediaType]; l.MediaType != want {
			t.Errorf("a layer is %s in a %s", l.MediaType, manifest.MediaType)
		}
	}
	fmt.Fprintln(&out, "author", cmp.Or(config.Author, "-"), "platform", config.Platform(), manifest.MediaType)
	text, err := json.MarshalIndent(config.Config, "", "  ")
	must(t, err)
	fmt.Fprintf(&out, "%s\n", text)
	return out.String()
}

// list says what a layer holds, and of when it is if that is not the context's time.
func list(t *testing.T, r io.Reader) string {
	t.Helper()
	var out strings.Builder
	tr := tar.NewReader(r)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return out.String()
		}
		must(t, err)
		content, err := io.ReadAll(tr)
		must(t, err)
		kind := map[byte]string{tar.TypeDir: "d", tar.TypeReg: "f", tar.TypeSymlink: "l", tar.TypeLink: "h", tar.TypeFifo: "p"}[hdr.Typeflag]
		fmt.Fprintf(&out, "%s %03o %d:%d %s", kind, hdr.Mode, hdr.Uid, hdr.Gid, hdr.Name)
		switch {
		case hdr.Linkname != "":
			fmt.Fprintf(&out, " -> %s", hdr.Linkname)
		case len(content) > 1000:
			fmt.Fprintf(&out, " %d bytes", len(content))
		case hdr.Typeflag == tar.TypeReg:
			fmt.Fprintf(&out, " %q", bytes.TrimRight(content, "\n"))
		}
		switch {
		case hdr.ModTime.Equal(created):
			out.WriteString(" created")
		case hdr.Typeflag != tar.TypeSymlink && !hdr.ModTime.Equal(written) && !hdr.ModTime.Equal(written.Truncate(time.Second)):
			fmt.Fprintf(&out, " %s", hdr.ModTime)
		}
		out.WriteString("\n")
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func failing(err error) func(context.Context, string, v1.Platform) (v1.Image, error) {
	return func(context.Context, string, v1.Platform) (v1.Image, error) { return nil, err }
}
