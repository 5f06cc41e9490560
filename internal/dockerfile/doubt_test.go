package dockerfile_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
)

// onlyARM is a base that is for linux/arm64, whatever is asked for.
func onlyARM(context.Context, string, v1.Platform) (v1.Image, error) {
	return baseImage(v1.Platform{OS: "linux", Architecture: "arm64"}, types.OCIManifestSchema1, v1.Config{OnBuild: []string{"ARG TRIGGER"}}, "f a 644 a")
}

// buildFrom builds text FROM onlyARM, and says what was doubtful about it.
func buildFrom(t *testing.T, text string, opts dockerfile.Options) (img v1.Image, doubts []string, err error) {
	t.Helper()
	opts.Warn = func(file string, line int, message string) {
		doubts = append(doubts, fmt.Sprintf("%s:%d: %s", file, line, message))
	}
	f, err := dockerfile.Parse("Dockerfile", []byte(text), opts)
	must(t, err)
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	t.Cleanup(func() { root.Close() })
	img, err = f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: onlyARM}, nil)
	return img, doubts, err
}

// TestBasePlatform wants no image to be called one for a platform that its base is not for, unless the Dockerfile says so.
func TestBasePlatform(t *testing.T) {
	amd64, arm64 := v1.Platform{OS: "linux", Architecture: "amd64"}, v1.Platform{OS: "linux", Architecture: "arm64"}
	for _, tt := range []struct {
		text  string
		asked v1.Platform
		want  string // platform or error
	}{
		{"FROM a", arm64, "linux/arm64"},
		{"FROM a", amd64, "Dockerfile:1: a is for linux/arm64, not for linux/amd64"},
		{"FROM --platform=linux/amd64 a", arm64, "Dockerfile:1: a is for linux/arm64, not for linux/amd64"},
		{"FROM --platform=linux/arm64 a", v1.Platform{}, "linux/arm64"},
		{"FROM --platform=linux/arm64 a", amd64, "linux/amd64"},
	} {
		img, _, err := buildFrom(t, tt.text, dockerfile.Options{Platform: tt.asked})
		if err != nil {
			if err.Error() != tt.want || fault.HintOf(err) != "if that is meant, write FROM --platform=linux/arm64" {
				t.Errorf("%s for %s: %v, hint %q", tt.text, tt.asked, err, fault.HintOf(err))
			}
			continue
		}
		config, err := img.ConfigFile()
		must(t, err)
		if got := config.Platform().String(); got != tt.want {
			t.Errorf("%s for %s: the image is for %s, want %s", tt.text, tt.asked, got, tt.want)
		}
	}
}

func TestWarns(t *testing.T) {
	_, doubts, err := buildFrom(t, "ARG BASE\nFROM a AS unneeded\nARG OTHER\nFROM --platform=linux/arm64 a\nARG OWN\nCOPY --from=b a /\n", dockerfile.Options{
		Platform: v1.Platform{OS: "linux", Architecture: "amd64"},
		Args: map[string]string{"BASE": "", "OTHER": "", "OWN": "", "TRIGGER": "", "TARGETARCH": "amd64", "no_proxy": "", "HTTP_PROXY": "",
			"VERSOIN": "1", "Own": "1"},
	})
	must(t, err)
	want := []string{"Dockerfile:0: --build-arg Own is used by no ARG", "Dockerfile:0: --build-arg VERSOIN is used by no ARG",
		`Dockerfile:4: FromPlatformFlagConstDisallowed: FROM --platform flag should not use constant value "linux/arm64"`,
		`Dockerfile:6: InvalidBaseImagePlatform: Base image b was pulled with platform "linux/arm64", expected "linux/amd64" for current build`}
	if d := diff.Diff(want, doubts); d != "" {
		t.Error(d)
	}
}

// TestEndsWithContext wants the layers of a build to be unreadable once its context has ended: files of the build context,
// members of an archive, and files of another image alike.
func TestEndsWithContext(t *testing.T) {
	dir := t.TempDir()
	must(t, os.WriteFile(filepath.Join(dir, "x"), []byte("x"), 0o644))
	must(t, os.WriteFile(filepath.Join(dir, "x.tar"), tarball(t, "f y 644 y"), 0o644))
	root, err := os.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	for _, instruction := range []string{"COPY x /", "ADD x.tar /", "COPY --from=debian:12 usr/bin/bash /"} {
		f, err := dockerfile.Parse("Dockerfile", []byte("FROM scratch\n"+instruction), dockerfile.Options{})
		must(t, err)
		ctx, cancel := context.WithCancel(t.Context())
		img, err := f.Build(ctx, dockerfile.Sources{Context: dockerfile.Folder(root), Base: bases}, nil)
		must(t, err)
		cancel()
		layers, err := img.Layers()
		must(t, err)
		r, err := layers[0].Uncompressed()
		must(t, err)
		for tr := tar.NewReader(r); err == nil; {
			if _, err = tr.Next(); err == nil {
				_, err = io.Copy(io.Discard, tr)
			}
		}
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", instruction, err)
		}
		r.Close()
	}
}
