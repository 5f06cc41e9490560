package buildkit

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"

	"github.com/ksera524/imgbump/internal/image"
)

// content is the blobs of an image as the daemon hands them over, in temporary files without a name. What There says is
// where the image goes is not handed over.
type content struct {
	there func(ctx context.Context, digest string) bool

	mu      sync.Mutex
	blobs   map[string]*os.File
	skipped map[string]int64 // their sizes
}

func newContent(there func(context.Context, string) bool) *content {
	return &content{there: there, blobs: map[string]*os.File{}, skipped: map[string]int64{}}
}

// errElsewhere is the cause when a blob is wanted that was not handed over.
var errElsewhere = errors.New("BuildKit did not hand it over, since the registry had it: build again")

// Blob reads one from its beginning.
func (c *content) Blob(digest string) (io.ReadCloser, int64, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if size, ok := c.skipped[digest]; ok {
		return io.NopCloser(absent(digest)), size, nil
	}
	f, ok := c.blobs[digest]
	if !ok {
		return nil, 0, fs.ErrNotExist
	}
	stat, err := f.Stat()
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(io.NewSectionReader(f, 0, stat.Size())), stat.Size(), nil
}

// absent is the content of a blob that is elsewhere.
type absent string

func (a absent) Read([]byte) (int, error) {
	return 0, fmt.Errorf("layer %s: %w", string(a), errElsewhere)
}

// Close drops all.
func (c *content) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	var errs []error
	for _, f := range c.blobs {
		errs = append(errs, f.Close())
	}
	return errors.Join(errs...)
}

// image is the one that the daemon says it has handed over, in its answer to the request to build.
func (c *content) image(ctx context.Context, name string, answer map[string]string) (image.Artifact, error) {
	var top struct{ MediaType, Digest string }
	raw, err := base64.StdEncoding.DecodeString(answer["containerimage.descriptor"])
	if err != nil || json.Unmarshal(raw, &top) != nil {
		return nil, errors.New("BuildKit built an image and does not say which")
	}
	return image.OpenStore(ctx, name, c, top.MediaType, top.Digest)
}

// The actions of a request to write (containerd, api/services/content/v1).
const (
	actionStat   = 0
	actionWrite  = 1
	actionCommit = 2
)

// writing is a blob that is on its way.
type writing struct {
	file     *os.File
	sum      hash.Hash
	size     int64
	expected string
	total    int64
}

// write takes one blob: each message is answered with how much there is.
func (c *content) write(x *exchange) error {
	var w writing
	defer func() {
		if w.file != nil {
			w.file.Close()
		}
	}()
	for {
		m, err := x.Receive()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if expected := m.field(4).text(); expected != "" {
			w.expected = expected
		}
		if total := m.field(3).number; total != 0 {
			w.total = int64(total)
		}
		action := m.field(1).number
		if action == actionStat && w.file == nil && c.skip(x.ctx, m.field(2).text(), w) {
			return &status{code: codeAlreadyExists, message: w.expected + " is there"}
		}
		if err := w.add(m); err != nil {
			return err
		}
		answer := message{}.number(1, action).number(4, uint64(w.size)).number(5, uint64(w.total))
		if action == actionCommit {
			if err := c.commit(&w); err != nil {
				return err
			}
			answer = answer.text(6, w.expected)
		}
		if err := x.Send(answer); err != nil {
			return err
		}
	}
}

// skip reports whether a blob need not be sent: it is here, or it is a layer that is where the image goes.
func (c *content) skip(ctx context.Context, ref string, w writing) bool {
	c.mu.Lock()
	_, here := c.blobs[w.expected]
	c.mu.Unlock()
	if here || c.there == nil || !strings.HasPrefix(ref, "layer-") || !c.there(ctx, w.expected) {
		return here
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.skipped[w.expected] = w.total
	return true
}

// add appends what a message holds, at the place that it names.
func (w *writing) add(m message) (err error) {
	if w.file == nil {
		if w.file, err = unnamed(); err != nil {
			return err
		}
		w.sum = sha256.New()
	}
	data := m.field(6).bytes
	if len(data) > 0 && int64(m.field(5).number) != w.size {
		return errProtocol
	}
	if _, err := w.file.Write(data); err != nil {
		return err
	}
	w.sum.Write(data)
	w.size += int64(len(data))
	return nil
}

// unnamed is a temporary file that nothing can leave behind.
func unnamed() (*os.File, error) {
	f, err := os.CreateTemp("", "blob-*")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// commit keeps a blob that is what it was said to be.
func (c *content) commit(w *writing) error {
	digest := fmt.Sprintf("sha256:%x", w.sum.Sum(nil))
	if w.expected != "" && w.expected != digest || w.total > 0 && w.total != w.size {
		return fmt.Errorf("what arrived is %s with %d bytes, and not %s with %d", digest, w.size, w.expected, w.total)
	}
	w.expected = digest
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.blobs[digest] == nil {
		c.blobs[digest], w.file = w.file, nil
	}
	return nil
}
