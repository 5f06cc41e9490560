package buildkit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// layout is an OCI layout on disk that a build starts from.
type layout struct {
	root   *os.Root
	digest string // of the image in it
}

// layouts are those of a request, by the names that the daemon has for them.
type layouts map[string]layout

const layoutScheme = "oci-layout://"

// layoutName is what a daemon knows the layout of a context by: a name as references have it.
func layoutName(context string) string {
	return fmt.Sprintf("layout-%x", sha256.Sum256([]byte(context)))[:32]
}

// layouts opens the contexts oci-layout://DIR or oci-layout://DIR@DIGEST.
func (r Request) layouts(ctx context.Context) (layouts, error) {
	all := layouts{}
	for name, where := range r.Options.Contexts {
		spec, ok := strings.CutPrefix(where, layoutScheme)
		if !ok {
			continue
		}
		l, err := openLayout(ctx, spec)
		if err != nil {
			all.Close()
			return nil, &fault.Error{What: "open the build context", Where: name + "=" + where, Err: err}
		}
		all[layoutName(name)] = l
	}
	return all, nil
}

func openLayout(ctx context.Context, spec string) (layout, error) {
	dir, wanted, _ := strings.Cut(spec, "@")
	artifact, closer, err := image.Open(ctx, dir)
	if err != nil {
		return layout{}, err
	}
	defer closer.Close()
	digest, err := artifact.Digest()
	if err != nil {
		return layout{}, err
	}
	if wanted != "" && wanted != digest.String() {
		return layout{}, fmt.Errorf("%s holds %s, not %s", dir, digest, wanted)
	}
	root, err := os.OpenRoot(dir)
	return layout{root, digest.String()}, err
}

func (all layouts) Close() {
	for _, l := range all {
		l.root.Close()
	}
}

var digestForm = regexp.MustCompile(`^(sha256|sha512):([0-9a-f]{64,128})$`)

// open is a blob of the layout that a call is about, and its size in bytes.
func (all layouts) open(x *exchange, digest string) (*os.File, int64, error) {
	missing := &status{code: codeNotFound, message: "there is no " + fault.Said(digest, maxSaid)}
	name, _ := strings.CutPrefix(x.header.Get("Buildkit-Attachable-Store-Id"), "oci:")
	l, known := all[name]
	parts := digestForm.FindStringSubmatch(digest)
	if !known || parts == nil {
		return nil, 0, missing
	}
	f, err := l.root.Open("blobs/" + parts[1] + "/" + parts[2])
	if errors.Is(err, os.ErrNotExist) {
		return nil, 0, missing
	}
	if err != nil {
		return nil, 0, err
	}
	stat, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, err
	}
	return f, stat.Size(), nil
}

// info tells how large a blob is (containerd, api/services/content/v1).
func (all layouts) info(x *exchange) error {
	m, err := x.Receive()
	if err != nil {
		return err
	}
	digest := m.field(1).text()
	f, size, err := all.open(x, digest)
	if err != nil {
		return err
	}
	f.Close()
	return x.Send(message{}.data(1, message{}.text(1, digest).number(2, uint64(size))))
}

// read sends a part of a blob.
func (all layouts) read(x *exchange) error {
	m, err := x.Receive()
	if err != nil {
		return err
	}
	f, size, err := all.open(x, m.field(1).text())
	if err != nil {
		return err
	}
	defer f.Close()
	offset, length := int64(m.field(2).number), int64(m.field(3).number)
	if length == 0 {
		length = size
	}
	part := io.NewSectionReader(f, offset, length)
	for buffer := make([]byte, 1<<20); ; {
		n, err := io.ReadFull(part, buffer)
		if n > 0 {
			if err := x.Send(message{}.number(1, uint64(offset)).data(2, buffer[:n])); err != nil {
				return err
			}
			offset += int64(n)
		}
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
