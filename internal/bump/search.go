package bump

import (
	"bytes"
	"context"
	"errors"
	"iter"
	"runtime"
	"sync"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// tree is what a search found out about the files: those that hold one of the names, in their order, the kustomizations
// by path, and what was passed over.
type tree struct {
	found          []found
	kustomizations map[string]manifest.File
	skipped        []Skipped
}

// found is a file that holds one of the names: its sites, or why it cannot be read.
type found struct {
	path  string
	data  []byte
	sites []manifest.Site
	err   error
}

// search reads the files while they are still being listed, on all cores, and parses those that hold one of the names;
// all of them when there is no name.
func search(ctx context.Context, files iter.Seq2[manifest.File, error], wanted names) (*tree, error) {
	t := &tree{kustomizations: map[string]manifest.File{}}
	results := map[int]found{}
	var mu sync.Mutex
	var readers sync.WaitGroup
	type numbered struct {
		manifest.File
		n int
	}
	work := make(chan []numbered, 2*runtime.GOMAXPROCS(0))
	for range runtime.GOMAXPROCS(0) {
		readers.Go(func() {
			var buf []byte
			for batch := range work {
				for _, file := range batch {
					var f found
					if f, buf = read(file.File, buf, wanted); f.err != nil || len(f.sites) > 0 {
						mu.Lock()
						results[file.n] = f
						mu.Unlock()
					}
				}
			}
		})
	}
	const batchSize = 32 // files that are handed over at once, since handing over costs as much as reading a small file
	var batch []numbered
	n := 0
	err := t.list(ctx, files, func(file manifest.File) {
		if batch = append(batch, numbered{file, n}); len(batch) == batchSize {
			work <- batch
			batch = nil
		}
		n++
	})
	work <- batch
	close(work)
	readers.Wait()
	for i := range n {
		if f, ok := results[i]; ok {
			t.keep(f)
		}
	}
	return t, errors.Join(err, ctx.Err())
}

// list hands on the files that may be manifests.
func (t *tree) list(ctx context.Context, files iter.Seq2[manifest.File, error], manifests func(manifest.File)) error {
	charts := manifest.Charts{}
	for f, err := range files {
		if err != nil || ctx.Err() != nil {
			return err
		}
		charts.Add(f.Path)
		switch {
		case !manifest.IsManifest(f.Path) || charts.Template(f.Path):
		case f.Skip != "":
			t.skipped = append(t.skipped, Skipped{File: f.Path, Reason: f.Skip})
		default:
			if manifest.IsKustomization(f.Path) {
				t.kustomizations[f.Path] = f
			}
			manifests(f)
		}
	}
	return nil
}

// read looks for the names in a file. The buffer goes from file to file, unless what was found in it is kept.
func read(file manifest.File, buf []byte, wanted names) (found, []byte) {
	data, err := file.Read(buf[:0])
	if err != nil {
		return found{path: file.Path, err: err}, buf
	}
	if !wanted.in(data) {
		return found{}, data
	}
	f := found{path: file.Path, data: bytes.Clone(data)}
	f.sites, f.err = manifest.Find(file.Path, f.data)
	return f, data
}

// keep takes a file into the tree.
func (t *tree) keep(f found) {
	if errors.Is(f.err, manifest.ErrTooLarge) {
		t.skipped = append(t.skipped, Skipped{File: f.path, Reason: f.err.Error()})
		return
	}
	t.found = append(t.found, f)
}
