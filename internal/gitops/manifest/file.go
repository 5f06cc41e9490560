// Package manifest finds the places in YAML files that name images, and changes exactly those bytes.
//
// kyaml finds the place (document, field path, line and column); the edit is a splice of the file's own bytes.
// No file is ever re-serialised, so whatever was not asked for stays as it is. The package does no I/O.
package manifest

// File is one file that may name images. Path is relative to the root with "/". Read returns the whole content and
// may be called from several goroutines. Skip says why the file cannot be edited (a symbolic link, a submodule), else "".
type File struct {
	Path string
	Size int64
	Read func() ([]byte, error)
	Skip string
}
