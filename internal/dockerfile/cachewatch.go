package dockerfile

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/ksera524/imgbump/internal/image"
)

// watch has the step look after what a plan reads: files that change between naming a step and carrying it out would be kept
// under the name of those that they were. again makes the plan once more.
func (k *keyed) watch(p *plan, again func() (*plan, error)) {
	before, _ := p.identity()
	k.same = append(k.same, func() bool {
		p, err := again()
		if err != nil {
			return false
		}
		now, _ := p.identity()
		return now == before
	})
}

// unchanged is an error when files are no more those that the step was named by.
func (k *keyed) unchanged() error {
	for _, same := range k.same {
		if !same() {
			return fmt.Errorf("a step is not kept: %w", image.ErrChanged)
		}
	}
	return nil
}

// watched is a step's layer that cannot be read to its end when the step's files have changed, until that does not matter any
// more.
type watched struct {
	image.Pending
	step *keyed
	over atomic.Bool
}

func (w *watched) Compressed() (io.ReadCloser, error) {
	r, err := w.Pending.Compressed()
	if err != nil {
		return nil, err
	}
	return &watchedReader{r, w}, nil
}

type watchedReader struct {
	io.ReadCloser
	layer *watched
}

func (w *watchedReader) Read(p []byte) (int, error) {
	n, err := w.ReadCloser.Read(p)
	if errors.Is(err, io.EOF) && !w.layer.over.Load() {
		if changed := w.layer.step.unchanged(); changed != nil {
			return n, changed
		}
	}
	return n, err
}
