package dockerfile

import (
	"archive/tar"
	"context"
	"fmt"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Names are what is in an image, without the bytes of its files.
type Names struct{ tree *tree }

// ReadNames reads layers to their ends, the lowest first.
func ReadNames(ctx context.Context, layers []v1.Layer) (*Names, error) {
	t, err := readTree(ctx, layers, nil)
	return &Names{t}, err
}

// Resolve is where a path leads, through all links; parts that are not there stay as they are.
func (n *Names) Resolve(name string) (string, error) { return resolve(n.tree, name) }

// Directory describes the directory at a resolved name, nil when there is nothing.
func (n *Names) Directory(name string) (*tar.Header, error) {
	at := n.tree.at(name)
	if at == nil {
		return nil, nil
	}
	if !at.file.isDir() {
		return nil, fmt.Errorf("%s is not a directory in the image", name)
	}
	hdr := at.file.Header
	hdr.Name = strings.TrimPrefix(name, "/") + "/"
	return &hdr, nil
}

// Put adds an entry of a further layer.
func (n *Names) Put(hdr *tar.Header) error { return n.tree.applyEntry(hdr, ours, nil) }
