package repo

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
)

// input is that of a service, which may have ended.
type input struct{ write, close error }

func (i input) Write(p []byte) (int, error) { return len(p), i.write }
func (i input) Close() error                { return i.close }

// What a server answers counts, whether it took all that was sent or not.
func TestSessionSends(t *testing.T) {
	reset, said := errors.New("connection reset"), &endError{1, "no space left"}
	for _, tt := range []struct {
		name   string
		in     input
		answer string
		end    error
		want   string
		err    error
	}{
		{"all is well", input{}, "0008NAK\nPACK", nil, "PACK", nil},
		{"the server has answered and gone before its input is closed", input{close: io.EOF}, "0008NAK\nPACK", nil, "PACK", nil},
		{"it answers and stops reading", input{write: reset}, "0008NAK\nPACK", nil, "PACK", nil},
		{"it goes without a word", input{close: io.EOF}, "", nil, "", io.ErrUnexpectedEOF},
		{"it cannot be reached any more", input{write: reset}, "", nil, "", reset},
		{"it says why it goes", input{write: reset}, "", said, "", said},
	} {
		s := &session{process: &process{in: tt.in, out: strings.NewReader(tt.answer),
			until: func(context.Context) func() bool { return func() bool { return true } }, wait: func() error { return tt.end }}}
		request := packp.NewUploadPackRequest()
		request.Wants = []plumbing.Hash{plumbing.NewHash("63fbbef0d0c9fc63fbbef0d0c9fc63fbbef0d0c9")}
		response, err := s.UploadPack(t.Context(), request)
		if err != nil || tt.err != nil {
			if !errors.Is(err, tt.err) {
				t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			}
			continue
		}
		if pack, err := io.ReadAll(response); err != nil || string(pack) != tt.want {
			t.Errorf("%s: %q, %v", tt.name, pack, err)
		}
	}
}
