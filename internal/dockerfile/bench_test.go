package dockerfile_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ksera524/imgbump/internal/dockerfile"
)

// BenchmarkPlan is Build alone, without reading the layers: a context and a base of 20,000 files.
func BenchmarkPlan(b *testing.B) {
	dir := b.TempDir()
	var entries []string
	for i := range 200 {
		must(b, os.MkdirAll(filepath.Join(dir, "src", fmt.Sprint(i)), 0o755))
		entries = append(entries, fmt.Sprintf("d 755 usr/share/%d/", i))
		for j := range 100 {
			must(b, os.WriteFile(filepath.Join(dir, "src", fmt.Sprint(i), fmt.Sprint(j)), nil, 0o644))
			entries = append(entries, fmt.Sprintf("f usr/share/%d/%d 644 x", i, j))
		}
	}
	must(b, os.WriteFile(filepath.Join(dir, "one"), nil, 0o644))
	base, err := baseImage(v1.Platform{OS: "linux", Architecture: "amd64"}, types.OCIManifestSchema1, v1.Config{}, entries...)
	must(b, err)
	root, err := os.OpenRoot(dir)
	must(b, err)
	defer root.Close()
	src := dockerfile.Sources{Context: dockerfile.Folder(root), Ignore: []byte("**/*.log\n.git\nnode_modules\n!src/1/x.log\n"),
		Base: func(context.Context, string, v1.Platform) (v1.Image, error) { return base, nil }}
	for _, c := range txtar.Parse([]byte("-- wide --\nFROM scratch\nCOPY . /\n-- narrow --\nFROM scratch\nCOPY one /\n-- base --\nFROM a\nCOPY one /\n")).Files {
		b.Run(c.Name, func(b *testing.B) {
			f, err := dockerfile.Parse("Dockerfile", c.Data, dockerfile.Options{})
			must(b, err)
			for b.Loop() {
				_, err := f.Build(b.Context(), src, nil)
				must(b, err)
			}
		})
	}
}
