package repo_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// BenchmarkRead20000 opens a depth-1 checkout of 20,000 files and reads all of them, as a bump without --path does.
func BenchmarkRead20000(b *testing.B) {
	server, err := gittest.Start(gittest.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	remote, err := server.Create("big.git")
	if err != nil {
		b.Fatal(err)
	}
	files := fstest.MapFS{}
	for i := range 20000 {
		name := fmt.Sprintf("clusters/c%d/team%d/app%d/file%d.yaml", i%5, i/5%40, i/200%34, i/3)
		files[name] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: apps/v1\nkind: Deployment\nmetadata:\n  name: app%d\nspec:\n  template:\n    spec:\n      containers:\n        - name: app\n          image: registry.example.com/app%d:1.%d\n", i, i, i%7)}
	}
	if _, err := remote.Commit("main", "many", files); err != nil {
		b.Fatal(err)
	}
	dir := filepath.Join(b.TempDir(), "checkout")
	if _, err := gittest.Git("", "clone", "-q", "--depth=1", remote.URL, dir); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		r, err := repo.Open(dir, repo.Options{})
		if err != nil {
			b.Fatal(err)
		}
		local := r.Local()
		tip, err := local.Tip(context.Background())
		if err != nil {
			b.Fatal(err)
		}
		work := make(chan manifest.File)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for f := range work {
					if _, err := f.Read(nil); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for f, err := range local.Files(context.Background(), tip, nil) {
			if err != nil {
				b.Fatal(err)
			}
			work <- f
		}
		close(work)
		wg.Wait()
		r.Close()
	}
}
