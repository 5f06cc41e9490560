package cli

import (
	"context"
	"io"
)

// Input is standard input until the context ends, also in the middle of a read: who was to write it may never do so.
func (c *Console) Input(ctx context.Context) io.Reader { return &input{ctx: ctx, from: c.In} }

type input struct {
	ctx  context.Context
	from io.Reader
	buf  []byte // belongs to the read that is under way
}

func (i *input) Read(p []byte) (int, error) {
	if i.ctx.Err() != nil {
		return 0, context.Cause(i.ctx)
	}
	type part struct {
		n   int
		err error
	}
	if len(i.buf) < len(p) {
		i.buf = make([]byte, len(p))
	}
	buf, read := i.buf[:len(p)], make(chan part, 1)
	go func() {
		n, err := i.from.Read(buf)
		read <- part{n, err}
	}()
	select {
	case got := <-read:
		return copy(p, buf[:got.n]), got.err
	case <-i.ctx.Done():
		return 0, context.Cause(i.ctx)
	}
}
