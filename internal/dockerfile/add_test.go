package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
)

// bzip2Tar is a tar with the file "bz", made once, for Go only reads bzip2.
const bzip2Tar = "QlpoOTFBWSZTWTH+nBcAAHBbgMkAQAB/gAABcAAeEAgIIABUNCDSbQJkegkmqaaNNNBkH3sxoQPIEIrF99CVdZoEQoNmhwBywQ2x4YolzQxhVzFYD5n47/uKERAdF3JFOFCQMf6cFw=="

// tarball is a tar of writeEntries' entries.
func tarball(t *testing.T, entries ...string) []byte {
	t.Helper()
	var buf bytes.Buffer
	tw := tar.NewWriter(&buf)
	must(t, writeEntries(tw, entries))
	must(t, tw.Close())
	return buf.Bytes()
}

func gzipped(t *testing.T, data []byte) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write(data)
	must(t, err)
	must(t, w.Close())
	return buf.Bytes()
}

func zstdCompressed(t *testing.T, data []byte) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	must(t, err)
	return w.EncodeAll(data, nil)
}

// withFiles is a case whose context holds files that text cannot.
func withFiles(t *testing.T, text string, files map[string][]byte) *testCase {
	t.Helper()
	c := newCase(t, txtar.Parse([]byte("-- Dockerfile --\n"+text+"\n")))
	for name, data := range files {
		must(t, os.WriteFile(filepath.Join(c.dir, name), data, 0o644))
		must(t, os.Chtimes(filepath.Join(c.dir, name), written, written))
	}
	return c
}

func TestAddUnpacks(t *testing.T) {
	plain := tarball(t, "d 755 ./", "d 700 d/", "f d/x 640 x", "h twin -> d/x", "l way -> d", "f way/y 644 y", "f deep/er/z 4755 z", "f d/x2 600 ")
	bzip2ed, err := base64.StdEncoding.DecodeString(bzip2Tar)
	must(t, err)
	c := withFiles(t, "FROM debian:12\nADD a.tar b.anything bz /opt/\nADD --chown=3:4 c /bin\nADD --unpack=false a.tar /kept", map[string][]byte{
		"a.tar": plain, "b.anything": gzipped(t, tarball(t, "f b 644 b")), "c": zstdCompressed(t, tarball(t, "f bash 700 new")), "bz": bzip2ed,
	})
	got, _, _ := strings.Cut(describe(t, c.build(t)), "base\n")
	want := `layer 2
d 755 0:0 opt/
d 700 0:0 opt/d/
f 600 0:0 opt/d/x2 ""
d 755 0:0 opt/deep/
d 755 0:0 opt/deep/er/
l 777 0:0 opt/way -> d
f 644 0:0 opt/b "b"
f 644 0:0 opt/bz "bz"
f 777 0:0 opt/d/x "x"
f 644 0:0 opt/d/y "y"
f 4755 0:0 opt/deep/er/z "z"
h 777 0:0 opt/twin -> opt/d/x
layer 3
d 755 0:0 usr/
d 755 0:0 usr/bin/
f 700 3:4 usr/bin/bash "new"
layer 4
f 644 0:0 kept 6656 bytes
`
	if d := diff.Diff(want, got); d != "" {
		t.Error("-want +got\n", d)
	}
}

// TestAddPlain wants files that are no archives copied as they are, whatever their names say.
func TestAddPlain(t *testing.T) {
	c := withFiles(t, "FROM scratch\nADD empty.tar text.tar.gz broken.gz notar.gz /", map[string][]byte{
		"empty.tar": nil, "text.tar.gz": []byte("text"), "broken.gz": {0x1f, 0x8b, 8, 0}, "notar.gz": gzipped(t, []byte("text")),
	})
	got := describe(t, c.build(t))
	for _, name := range []string{"empty.tar", "text.tar.gz", "broken.gz", "notar.gz"} {
		if !strings.Contains(got, "f 644 0:0 "+name+" ") {
			t.Errorf("%s is not in\n%s", name, got)
		}
	}
}

func TestAddRefuses(t *testing.T) {
	good := tarball(t, "f a 644 "+strings.Repeat("a", 2000))
	for want, data := range map[string][]byte{
		"points out of it":                 tarball(t, "f a/../../x 644 x"),
		"which is no file":                 tarball(t, "h x -> /nothing"),
		"unexpected EOF":                   good[:1000],
		"is below a link to nothing":       tarball(t, "l out -> ../../nowhere", "f out/x 644 x"),
		"longer than 4096 bytes":           tarball(t, "f "+strings.Repeat("a/", 3000)+"x 644 x"),
		"/usr/bin/bash is not a directory": tarball(t, "f usr/bin/bash/x 644 x"),
	} {
		c := withFiles(t, "FROM debian:12\nADD a /", map[string][]byte{"a": data})
		if _, err := c.tryBuild(t); err == nil || !strings.HasPrefix(err.Error(), "Dockerfile:2: a: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q in it", err, want)
		}
	}
}

// TestUnpackStaysInside unpacks an archive whose links point out of its destination: they lead back into it.
func TestUnpackStaysInside(t *testing.T) {
	c := withFiles(t, "FROM debian:12\nADD a /opt", map[string][]byte{
		"a": tarball(t, "l abs -> /etc", "l up -> ../../..", "d 755 etc/", "f abs/passwd 644 x", "f up/y 644 y")})
	got := describe(t, c.build(t))
	for _, line := range []string{`opt/etc/passwd "x"`, `opt/y "y"`} {
		if !strings.Contains(got, line) {
			t.Errorf("%s is not in\n%s", line, got)
		}
	}
}

// unreadable is an image whose layers must not be read.
type unreadable struct{ v1.Image }

func (u unreadable) Layers() ([]v1.Layer, error) {
	return nil, errors.New("the base's layers were read")
}

// TestLazy wants a base to stay unread when nothing depends on what is in it.
func TestLazy(t *testing.T) {
	base, err := bases(t.Context(), "debian:12", v1.Platform{OS: "linux", Architecture: "amd64"})
	must(t, err)
	source := func(context.Context, string, v1.Platform) (v1.Image, error) { return unreadable{base}, nil }
	for text, wantErr := range map[string]bool{
		"FROM a\nENV A=b\nCMD [\"x\"]\nWORKDIR /":      false,
		"FROM a\nCOPY --link x /bin/\nCOPY --link x /": false,
		"FROM a\nCOPY x /bin/":                         true,
		"FROM a\nWORKDIR /w":                           true,
	} {
		c := withFiles(t, text, map[string][]byte{"x": nil})
		f, err := dockerfile.Parse("Dockerfile", c.dockerfile, c.opts)
		must(t, err)
		root, err := os.OpenRoot(c.dir)
		must(t, err)
		defer root.Close()
		if _, err := f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: source}, nil); (err != nil) != wantErr {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// damaged is a layer whose bytes turn out to be wrong once all have been read, as a registry's client finds.
type damaged struct{ v1.Layer }

func (d damaged) Compressed() (io.ReadCloser, error) {
	r, err := d.Layer.Compressed()
	return io.NopCloser(io.MultiReader(r, iotest.ErrReader(errors.New("wrong digest")))), err
}

type damagedImage struct{ v1.Image }

func (d damagedImage) Layers() ([]v1.Layer, error) {
	layers, err := d.Image.Layers()
	return []v1.Layer{damaged{layers[0]}}, err
}

// TestReadsToTheEnd wants a layer of a base to be read to where its digest is checked.
func TestReadsToTheEnd(t *testing.T) {
	base, err := bases(t.Context(), "debian:12", v1.Platform{OS: "linux", Architecture: "amd64"})
	must(t, err)
	f, err := dockerfile.Parse("Dockerfile", []byte("FROM a\nWORKDIR /w"), dockerfile.Options{})
	must(t, err)
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	_, err = f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: func(context.Context, string, v1.Platform) (v1.Image, error) {
		return damagedImage{base}, nil
	}}, nil)
	if err == nil || err.Error() != "Dockerfile:2: reading layer 1 of 1: wrong digest" {
		t.Error(err)
	}
}

// TestSpecialFiles wants a pipe to stay one, and a socket to become an empty file, without either being opened.
func TestSpecialFiles(t *testing.T) {
	c := withFiles(t, "FROM scratch\nCOPY . /", nil)
	must(t, syscall.Mkfifo(filepath.Join(c.dir, "pipe"), 0o600))
	l, err := net.Listen("unix", filepath.Join(c.dir, "socket"))
	must(t, err)
	defer l.Close()
	must(t, os.Chmod(filepath.Join(c.dir, "socket"), 0o600))
	got := describe(t, c.build(t))
	for _, line := range []string{"p 600 0:0 pipe", `f 600 0:0 socket ""`} {
		if !strings.Contains(got, line) {
			t.Errorf("%s is not in\n%s", line, got)
		}
	}
}

// TestChanged wants a file that grows or shrinks between the plan and the push to fail the push.
func TestChanged(t *testing.T) {
	for _, now := range []string{"", "four", "sixsix"} {
		c := withFiles(t, "FROM scratch\nCOPY x /", map[string][]byte{"x": []byte("five!")})
		img := c.build(t)
		must(t, os.WriteFile(filepath.Join(c.dir, "x"), []byte(now), 0o644))
		all, err := img.Layers()
		must(t, err)
		r, err := all[0].Compressed()
		must(t, err)
		if _, err := io.Copy(io.Discard, r); !errors.Is(err, image.ErrChanged) || !strings.Contains(err.Error(), "/x") {
			t.Errorf("%q: %v", now, err)
		}
		r.Close()
	}
}

func TestSteps(t *testing.T) {
	c := withFiles(t, "FROM scratch AS one\nCOPY x \\\n  /\n\nFROM one\nENV A=1", map[string][]byte{"x": nil})
	f, err := dockerfile.Parse("Dockerfile", c.dockerfile, c.opts)
	must(t, err)
	root, err := os.OpenRoot(c.dir)
	must(t, err)
	defer root.Close()
	var steps []string
	_, err = f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root)}, func(s dockerfile.Step) {
		if s.Done == (len(steps)%2 == 0) { // each is told twice
			t.Errorf("%+v after %q", s, steps)
		}
		steps = append(steps, fmt.Sprintf("%s %s %d/%d line %d %s %t", s.Stage, s.Platform, s.Number, s.Total, s.Line, s.Instruction, s.Layer != nil))
	})
	must(t, err)
	var want []string
	for _, s := range []string{"one linux/amd64 1/4 line 1 FROM scratch AS one", "one linux/amd64 2/4 line 2 COPY x   /", "1 linux/amd64 3/4 line 5 FROM one", "1 linux/amd64 4/4 line 6 ENV A=1"} {
		want = append(want, s+" false", s+" "+strconv.FormatBool(strings.Contains(s, "COPY")))
	}
	if d := diff.Diff(want, steps); d != "" {
		t.Error(d)
	}
}
