package bump

import (
	"bytes"
	"errors"
	"io/fs"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// Files lists the files below the given paths, all when there are none, in order of their path. Paths are relative to
// the job's root.
type Files func(under []string) iter.Seq2[manifest.File, error]

// Config is the content of the imgbump.yaml at the root, nil when there is none.
func (files Files) Config() ([]byte, error) {
	for f, err := range files([]string{config.Name}) {
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return nil, nil
		case err == nil && f.Skip != "":
			err = &fault.Error{Kind: fault.Usage, What: "read", Where: config.Name, Err: errors.New(f.Skip)}
		}
		if err != nil {
			return nil, err
		}
		data, err := f.Read(nil)
		if err != nil {
			err = &fault.Error{Kind: fault.KindOf(err), What: "read", Where: config.Name, Err: err}
		}
		return data, err
	}
	return nil, nil
}

// source is the files of a tree with what its imgbump.yaml says about them.
type source struct {
	files  Files
	config config.Config
}

// registries are what imgbump.yaml says of them, with the authorities that it names. What cannot be read is an error of kind
// Usage.
func (s source) registries() ([]config.Registry, error) {
	all := slices.Clone(s.config.Registries)
	for i, r := range all {
		if r.CAFile == "" {
			continue
		}
		for f, err := range s.files([]string{r.CAFile}) {
			if err == nil && f.Skip != "" {
				err = errors.New(f.Skip)
			}
			if err == nil {
				all[i].CA, err = f.Read(nil)
			}
			if err != nil {
				return nil, &fault.Error{Kind: fault.Usage, What: "read " + r.CAFile + " for", Where: config.Where(r.Line), Hint: "it is a file beside " + config.Name, Err: err}
			}
		}
	}
	return all, nil
}

// source reads the tree's imgbump.yaml. What is wrong with it is an error of kind Usage.
func (j Job) source(files Files) (source, error) {
	data, err := files.Config()
	if err != nil {
		return source{}, err
	}
	c, problems, _ := config.Parse(data)
	c.Rules.Include = j.Include
	return source{files: files, config: c}, config.Err(problems)
}

// below lists the files below the given paths that are not excluded. A path that is excluded itself was named on purpose.
func (s source) below(under []string) iter.Seq2[manifest.File, error] {
	var chosen []string
	for _, u := range under {
		if s.config.Excludes(u + "/") {
			chosen = append(chosen, u)
		}
	}
	excluded := func(p string) bool {
		return s.config.Excludes(p) && !slices.ContainsFunc(chosen, func(u string) bool { return p == u || strings.HasPrefix(p, u+"/") })
	}
	return func(yield func(manifest.File, error) bool) {
		for f, err := range s.files(under) {
			if err == nil && (path.Base(f.Path) == config.Name || excluded(f.Path)) {
				continue
			}
			if !yield(f, err) {
				return
			}
		}
	}
}

// check lists what lies below the paths, so that one that does not exist is an error.
func (s source) check(under []string) error {
	for _, err := range s.below(under) {
		if err != nil {
			return err
		}
	}
	return nil
}

// versions reports whether the file may have a configured field with just the version of a wanted image, whose name need
// not be in the file then.
func (s source) versions(wanted names, p string, data []byte) bool {
	return slices.ContainsFunc(s.config.Rules.Fields, func(r manifest.FieldRule) bool {
		if r.Image == "" || !wanted.in([]byte(r.Image)) {
			return false
		}
		likely, _ := path.Match(path.Base(r.File), path.Base(p))
		return (likely || r.File == "") && bytes.Contains(data, []byte(r.Kind))
	})
}

// sites finds the sites of a file. Those that the configuration holds back have its reason.
func (s source) sites(p string, data []byte) ([]manifest.Site, error) {
	sites, err := manifest.Find(p, data, s.config.Rules)
	for i := range sites {
		if sites[i].Hold == "" {
			sites[i].Hold = s.config.Held(sites[i])
		}
	}
	return sites, err
}
