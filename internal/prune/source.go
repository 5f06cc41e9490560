package prune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/retention"
)

// Source is where manifests are: a folder, the last commits of a branch, or both. A path comes once for each content that
// it has or had, the newest first. Files must be readable until the Job has run.
type Source struct {
	Name  string // as messages say it
	Files iter.Seq2[File, error]
}

// File is a file as a folder has it, or as a commit did.
type File struct {
	manifest.File
	Commit string
}

// at is the file's commit, as it stands behind a path or a line.
func (f File) at() string {
	if f.Commit == "" {
		return ""
	}
	return " (" + f.Commit[:min(len(f.Commit), 7)] + ")"
}

// Named is what the manifests of a source name of one project.
type Named struct {
	References []retention.Reference
	Files      int // that are manifests
}

// Named reads the source. That something of it cannot be read, or that there is nothing, is an error.
func (s Source) Named(ctx context.Context, project string) (Named, error) {
	r := newReading(project)
	var files []File
	for f, err := range s.Files {
		if err != nil {
			return Named{}, err
		}
		files = append(files, f)
		r.charts.Add(f.Path)
		r.meet(f)
	}
	if err := r.configure(files); err != nil {
		return Named{}, err
	}
	for _, f := range files {
		if ctx.Err() != nil {
			return Named{}, context.Cause(ctx)
		}
		r.file(f)
	}
	r.follow()
	r.resolve()
	return r.Named, s.unless(r)
}

// maxTold is how many files that cannot be read an error names.
const maxTold = 5

// unless is nil when all was read.
func (s Source) unless(r *reading) error {
	f := &fault.Error{What: "read the manifests of", Where: s.Name, Hint: "make the manifests readable, or leave --keep-referenced away; nothing was removed"}
	switch {
	case len(r.unread) > 0:
		f.Err = errors.Join(r.unread[:min(len(r.unread), maxTold)]...)
	case r.Files == 0:
		f.Err = errors.New("there are none")
	default:
		return nil
	}
	return f
}

// reading collects what manifests name of one project. Whatever may name an image there counts: the host does not matter,
// since a cluster may reach the registry by another name; and where a file has the text PROJECT/NAME:TAG or a digest, that
// counts though no place is known there. A name without a tag that can be read stands for the whole repository.
type reading struct {
	Named
	project string
	rules   manifest.Rules
	charts  manifest.Charts

	known  map[string]bool   // paths: all folders, links and manifests
	others map[string][]File // that are no manifests
	links  []link
	unread []error

	noted map[retention.Reference]bool
	helm  helm
}

// link is a symbolic link with the path that it leads to.
type link struct {
	File
	to string
}

func newReading(project string) *reading {
	return &reading{
		project: project, rules: manifest.Rules{Include: true, Choosers: true}, charts: manifest.Charts{}, known: map[string]bool{".": true}, others: map[string][]File{},
		noted: map[retention.Reference]bool{}, helm: newHelm(),
	}
}

// configure takes the further places for images that imgbump.yaml names, as it is now.
func (r *reading) configure(files []File) error {
	i := slices.IndexFunc(files, func(f File) bool { return f.Path == config.Name })
	if i < 0 {
		return nil
	}
	f := files[i]
	err := errors.New(f.Skip)
	var data []byte
	if f.Skip == "" {
		data, err = f.Read(nil)
	}
	if err != nil {
		return &fault.Error{What: "read", Where: config.Name, Err: fault.Cause(err)}
	}
	c, problems, _ := config.Parse(data)
	r.rules.Fields = c.Rules.Fields
	return config.Err(problems)
}

// meet notes that a path is there, and the folders that it is in.
func (r *reading) meet(f File) {
	for dir := path.Dir(f.Path); !r.known[dir]; dir = path.Dir(dir) {
		r.known[dir] = true
	}
	if f.Type&fs.ModeSymlink != 0 {
		r.known[f.Path] = true
	}
}

// isManifest reports whether a file by this name is read. imgbump.yaml says what may be done to images; it runs none.
func (r *reading) isManifest(p string) bool {
	return path.Base(p) != config.Name && (manifest.IsManifest(p, r.rules) || r.charts.Template(p))
}

func (r *reading) file(f File) {
	switch {
	case f.Type == fs.ModeDir:
		r.lose(f, errors.New("a submodule, whose files are in another repository"))
	case f.Type&fs.ModeSymlink != 0:
		r.link(f)
	case strings.HasSuffix(f.Path, "/"):
		r.lose(f, errors.New(f.Skip))
	case r.isManifest(f.Path):
		r.known[f.Path] = true
		r.read(f)
	default:
		r.others[f.Path] = append(r.others[f.Path], f)
	}
}

// lose notes that something cannot be read.
func (r *reading) lose(f File, why error) {
	r.unread = append(r.unread, fmt.Errorf("%s%s: %w", f.Path, f.at(), fault.Cause(why)))
}

// link notes a symbolic link that stays inside. Where others lead is not read.
func (r *reading) link(f File) {
	target, err := f.Read(nil)
	if err != nil {
		r.lose(f, err)
		return
	}
	to := path.Join(path.Dir(f.Path), string(target))
	if path.IsAbs(string(target)) || !fs.ValidPath(to) {
		r.lose(f, errors.New("a symbolic link that leads out"))
		return
	}
	r.links = append(r.links, link{f, to})
}

// follow reads what links make a manifest of. Other manifests that they lead to are met where they are.
func (r *reading) follow() {
	for _, l := range r.links {
		targets := r.others[l.to]
		if !r.known[l.to] && len(targets) == 0 {
			r.lose(l.File, errors.New("a symbolic link that leads nowhere"))
		}
		for _, f := range targets {
			if f.Path = l.Path; r.isManifest(l.Path) {
				r.read(f)
			}
		}
	}
}

// read reads a manifest.
func (r *reading) read(f File) {
	r.Files++
	err := errors.New(f.Skip)
	var data []byte
	if f.Skip == "" {
		data, err = f.Read(nil)
	}
	if err != nil {
		r.lose(f, err)
		return
	}
	var sites []manifest.Site
	if !r.charts.Template(f.Path) && r.mayName(data) {
		if sites, err = manifest.Find(f.Path, data, r.rules); err != nil {
			if syntax, ok := errors.AsType[*manifest.SyntaxError](err); ok && syntax.Line > 0 {
				f.Path = fmt.Sprintf("%s:%d", f.Path, syntax.Line)
			}
			r.lose(f, err)
			return
		}
	}
	for _, s := range sites {
		r.site(f, s)
	}
	r.text(f, data, sites)
	r.helm.read(f, data)
}
