package ship_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/ship"
)

// unreachable is a registry that nothing may be asked of.
type unreachable struct{ t *testing.T }

func (u unreachable) Image(context.Context, imageref.Ref, v1.Platform) (v1.Image, error) {
	u.t.Error("an image was fetched")
	return nil, errors.New("unreachable")
}

func (u unreachable) Artifact(context.Context, imageref.Ref) (image.Artifact, error) {
	u.t.Error("an image was fetched")
	return nil, errors.New("unreachable")
}

func (u unreachable) Copy(context.Context, imageref.Ref, imageref.Ref) (image.Receipt, error) {
	u.t.Error("an image was copied")
	return image.Receipt{}, errors.New("unreachable")
}

func (u unreachable) Push(context.Context, image.Artifact, []imageref.Ref) (image.Receipt, error) {
	u.t.Error("an image was pushed")
	return image.Receipt{}, errors.New("unreachable")
}

// app is a build context with one file, of what will be one layer.
func app(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"Dockerfile": "FROM scratch\nCOPY app /\n", "app": "app"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func output(t *testing.T, spec string) []ship.Output {
	t.Helper()
	o, err := ship.ParseOutput(spec)
	if err != nil {
		t.Fatal(err)
	}
	return []ship.Output{o}
}

// TestInterrupted ends a build between its plan and its layers: it fails, and leaves no output.
func TestInterrupted(t *testing.T) {
	for _, kind := range []string{"docker:", "oci:", "local:", "tar:", "type=oci,dest="} {
		out := filepath.Join(t.TempDir(), "out")
		ctx, cancel := context.WithCancel(t.Context())
		build := ship.Build{Context: app(t), Outputs: output(t, kind+out), Step: func(s dockerfile.Step) {
			if s.Number == s.Total {
				cancel()
			}
		}}
		if _, err := build.Run(ctx, unreachable{t}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", kind, err)
		}
		if left, err := os.Lstat(out); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: left behind: %v, %v", kind, left, err)
		}
	}
}

// TestElsewhereWithoutPlatform takes an image that does not say what it is for, as some frontends make it.
func TestElsewhereWithoutPlatform(t *testing.T) {
	build := ship.Build{Context: app(t)}
	_, err := build.RunElsewhere(t.Context(), unreachable{t}, func(context.Context, ship.Order) (image.Artifact, io.Closer, error) {
		return empty.Image, io.NopCloser(nil), nil
	})
	if err != nil {
		t.Error(err)
	}
}

// TestOutputsBeforePush pushes nothing when an output cannot be written.
func TestOutputsBeforePush(t *testing.T) {
	dir := app(t)
	build := ship.Build{Context: dir, Push: true, References: []imageref.Ref{{Repository: "app", Tag: "1"}},
		Outputs: output(t, "docker:"+filepath.Join(dir, "app", "out.tar"))}
	if _, err := build.Run(t.Context(), unreachable{t}); err == nil || !strings.Contains(err.Error(), "not a directory") {
		t.Errorf("%v", err)
	}
}
