package bump

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"runtime"
	"strings"
	"sync"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// tree is what a search found out about the files below some paths: those that hold one of the names, in their order, the
// content of the kustomizations by path, the charts, what is declared to Argo CD, and what was passed over.
type tree struct {
	source
	under          []string
	found          []found
	kustomizations map[string][]byte
	charts         manifest.Charts
	templates      []manifest.File // of the charts
	declared       []argocd.Declared
	foreign        foreign
	listed         map[string]bool // the files that may be manifests
	skipped        []Skipped
}

// found is a file that holds one of the names: its sites, and for each of those that name a wanted image what makes it name
// the wanted version; or why it cannot be read. Data is its content where it may be edited.
type found struct {
	path      string
	data      []byte
	sites     []manifest.Site
	proposals []*proposal
	declared  *argocd.Declared // nil when nothing is
	foreign   []byte           // its content, where it has policies of other tools
	colonless []int            // lines with what would be a comment of ours with a colon
	err       error
}

// search reads the files while they are still being listed, on all cores, and parses those that hold one of the names;
// all of them when there is no name.
func search(ctx context.Context, src source, under []string, wanted wanted) (*tree, error) {
	t := &tree{source: src, under: under, kustomizations: map[string][]byte{}, charts: manifest.Charts{}, listed: map[string]bool{}}
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
					if f, buf = t.read(file.File, buf, wanted); f.path != "" {
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
	err := t.list(ctx, under, func(file manifest.File) {
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
func (t *tree) list(ctx context.Context, under []string, manifests func(manifest.File)) error {
	for f, err := range t.below(under) {
		if err != nil || ctx.Err() != nil {
			return err
		}
		t.charts.Add(f.Path)
		folder := strings.HasSuffix(f.Path, "/")
		switch {
		case !folder && !manifest.IsManifest(f.Path, t.config.Rules):
		case t.charts.Template(f.Path):
			if f.Skip == "" {
				t.templates = append(t.templates, f)
			}
		case f.Skip != "":
			t.skipped = append(t.skipped, Skipped{File: f.Path, Reason: f.Skip})
		default:
			t.listed[f.Path] = true
			manifests(f)
		}
	}
	return nil
}

// read looks for the names in a file; what cannot name one, is no kustomization and declares nothing has no path. The buffer
// goes from file to file.
func (t *tree) read(file manifest.File, buf []byte, wanted wanted) (found, []byte) {
	data, err := file.Read(buf[:0])
	if err != nil {
		return found{path: file.Path, err: err}, buf
	}
	kustomization := manifest.IsKustomization(file.Path)
	named := manifest.MayName(data, t.config.Rules) && (wanted.in(data) || t.versions(wanted.names, file.Path, data))
	declares, policies := argocd.Declares(data), wanted.any() && declaresPolicies(data)
	if !kustomization && !named && !declares && !policies {
		return found{}, data
	}
	if bytes.IndexByte(data[:min(len(data), binaryWithin)], 0) >= 0 {
		return found{path: file.Path, err: errBinary}, data
	}
	f := found{path: file.Path, data: bytes.Clone(data)}
	if named {
		f.sites, f.err = t.sites(file.Path, f.data)
		f.colonless = colonless(f.data)
	}
	if policies {
		f.foreign = f.data
	}
	if declares {
		declared := argocd.Parse(file.Path, data)
		f.declared = &declared
	}
	if len(f.sites) == 0 && f.err == nil && !kustomization && !declares && !policies {
		return found{}, data
	}
	f.propose(wanted)
	if f.proposals == nil && !kustomization {
		f.data = nil
	}
	return f, data
}

// propose asks the sites for the edits that they may get, and lets go of the parsed file, which they need for no more.
func (f *found) propose(wanted wanted) {
	for i, s := range f.sites {
		if p := wanted.propose(s); p != nil {
			if f.proposals == nil {
				f.proposals = make([]*proposal, len(f.sites))
			}
			f.proposals[i] = p
		}
		f.sites[i] = reported(s)
	}
}

// reported is a site without its hold on the parsed file, which it needs only to be edited.
func reported(s manifest.Site) manifest.Site {
	return manifest.Site{
		File: s.File, Doc: s.Doc, Field: s.Field, Line: s.Line, Start: s.Start, End: s.End,
		Ref: s.Ref, Replaces: s.Replaces, Shape: s.Shape, Object: s.Object, Hold: s.Hold,
		Marker: s.Marker, NameMarked: s.NameMarked, Rule: s.Rule, RuleLine: s.RuleLine,
	}
}

// binaryWithin is how many bytes must be free of NUL in a text file; git looks at as many.
const binaryWithin = 8000

var errBinary = errors.New("not text: it holds NUL bytes")

// keep takes a file into the tree.
func (t *tree) keep(f found) {
	for _, reason := range []error{manifest.ErrTooLarge, errBinary, fs.ErrPermission} {
		if errors.Is(f.err, reason) {
			t.skipped = append(t.skipped, Skipped{File: f.path, Reason: reason.Error()})
			return
		}
	}
	if f.declared != nil {
		t.declared = append(t.declared, *f.declared)
	}
	if f.foreign != nil {
		t.foreign.add(f.path, f.foreign)
	}
	if manifest.IsKustomization(f.path) {
		t.kustomizations[f.path] = f.data
	}
	if f.err != nil || len(f.sites) > 0 {
		t.found = append(t.found, f)
	}
}
