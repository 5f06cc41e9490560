// Package manifest finds the places in YAML files that name images, and changes exactly those bytes.
//
// kyaml finds the place (document, field path, line and column); the edit is a splice of the file's own bytes.
// No file is ever re-serialised, so whatever was not asked for stays as it is. The package does no I/O.
package manifest

import (
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// MaxSize is the largest file, in bytes, that is read as a manifest. etcd refuses objects over 1.5 MiB; files with
// many documents are larger, but nothing that people write by hand comes near.
const MaxSize = 64 << 20

// ErrTooLarge is what reading a file of more than MaxSize bytes gives.
var ErrTooLarge = fmt.Errorf("larger than %d MiB", MaxSize>>20)

// File is one file that may name images. Path is relative to the root with "/". Read returns the whole content, in buf
// when that has room, and may be called from several goroutines. Skip says why the file cannot be edited (a symbolic
// link, a submodule), else "". Type is 0 for a regular file, fs.ModeSymlink for a link, of which Read gives where it
// leads, and fs.ModeDir for a submodule, whose files are in another repository.
type File struct {
	Path string
	Read func(buf []byte) ([]byte, error)
	Skip string
	Type fs.FileMode
}

// kustomizationNames are the file names that kustomize looks for in a directory, in its order.
var kustomizationNames = []string{"kustomization.yaml", "kustomization.yml", "Kustomization"}

// IsManifest reports whether the file at p may hold sites: YAML or JSON by its name, and of Kubernetes or Helm, unless the
// rules ask for more.
func IsManifest(p string, rules Rules) bool {
	name := path.Base(p)
	switch path.Ext(name) {
	case ".yaml", ".yml", ".json":
		return rules.Include || !isCompose(p) || slices.ContainsFunc(rules.Fields, func(r FieldRule) bool { return r.inFile(p) })
	}
	return name == "Kustomization"
}

// objectsOnly reports whether only Kubernetes objects count in the file at p: JSON is rarely written for Helm, and hidden
// files (.gitlab-ci.yml, .github/workflows) configure tools that name images of their own.
func objectsOnly(p string) bool {
	return path.Ext(p) == ".json" || !isOverride(p) && (strings.HasPrefix(p, ".") || strings.Contains(p, "/."))
}

// IsKustomization reports whether kustomize would read the file at p as a kustomization.
func IsKustomization(p string) bool { return slices.Contains(kustomizationNames, path.Base(p)) }

// KustomizationsIn are the files in which kustomize would look for the kustomization of folder dir.
func KustomizationsIn(dir string) []string {
	var files []string
	for _, name := range kustomizationNames {
		files = append(files, path.Join(dir, name))
	}
	return files
}

// Charts knows the Helm charts of a tree. Their templates are programs, not manifests, and are left alone.
type Charts map[string]bool

// Add notes that a chart lives where p is a Chart.yaml.
func (c Charts) Add(p string) {
	if path.Base(p) == "Chart.yaml" {
		c[path.Dir(p)] = true
	}
}

// Template reports whether p lies in the templates folder of a chart.
func (c Charts) Template(p string) bool {
	for dir := path.Dir(p); dir != "."; dir = path.Dir(dir) {
		if path.Base(dir) == "templates" && c[path.Dir(dir)] {
			return true
		}
	}
	return false
}
