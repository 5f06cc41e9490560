package repo

import (
	"compress/zlib"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// input is that of a service, which may have ended.
type input struct{ write, close error }

func (i input) Write(p []byte) (int, error) { return len(p), i.write }
func (i input) Close() error                { return i.close }

// answering is a service that answers, and ends.
func answering(in input, answer string, end error) *session {
	return &session{process: &process{in: in, out: strings.NewReader(answer), wait: func() error { return end },
		until: func(context.Context) func() bool { return func() bool { return true } }}}
}

// What a server answers counts, whether it took all that was sent or not.
func TestSessionSends(t *testing.T) {
	for name, in := range map[string]input{
		"all is well": {},
		"the server has answered and gone before its input is closed": {close: io.EOF},
		"it answers and stops reading":                                {write: errors.New("connection reset")},
	} {
		request := packp.NewUploadPackRequest()
		request.Wants = []plumbing.Hash{plumbing.NewHash("63fbbef0d0c9fc63fbbef0d0c9fc63fbbef0d0c9")}
		response, err := answering(in, "0008NAK\nPACK", nil).UploadPack(t.Context(), request)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if pack, err := io.ReadAll(response); err != nil || string(pack) != "PACK" {
			t.Errorf("%s: %q, %v", name, pack, err)
		}
	}
}

// TestSessionLeaves wants a service that takes nothing any more, or does not end, not to be waited for without end.
func TestSessionLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		unread, in := io.Pipe()
		ended := make(chan struct{})
		s := &session{process: &process{in: in,
			until: func(ctx context.Context) func() bool {
				return context.AfterFunc(ctx, func() { unread.Close(); close(ended) })
			},
			close: func() error { <-ended; return nil }}}
		began := time.Now()
		if err := s.Close(); err != nil || time.Since(began) != hookPatience {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
	})
}

// A server that goes before the pack is whole has sent nothing, and what it says then is the reason.
func TestFetchBreaksOff(t *testing.T) {
	said, reset := &endError{137, "out of memory"}, errors.New("connection reset")
	var short strings.Builder
	z := zlib.NewWriter(&short)
	z.Write([]byte("abc"))
	z.Close()
	for _, tt := range []struct {
		answer string
		end    error
		want   error
		in     input
	}{
		{"", nil, io.ErrUnexpectedEOF, input{close: io.EOF}},
		{"", nil, reset, input{write: reset}},
		{"", said, said, input{write: reset}},
		{"0008NAK\n", said, said, input{}},
		{"0008NAK\n", nil, io.ErrUnexpectedEOF, input{}},
		{"0008NAK\nPACK\x00\x00\x00\x02\x00\x00\x00\x01", said, said, input{}},
		{"0008NAK\nPA", nil, io.ErrUnexpectedEOF, input{}},
		{"0008NAK\nnot a pack", said, packfile.ErrBadSignature, input{}},
		{"0008NAK\nPACK\x00\x00\x00\x02\x00\x00\x00\x01\x35" + short.String() + strings.Repeat("more comes", 1<<16), said, io.ErrUnexpectedEOF, input{}}, // nobody waits for its end
	} {
		r := &Remote{server: &server{endpoint: &transport.Endpoint{Protocol: "ssh"}}}
		r.objects = &objects{}
		r.link = &link{session: answering(tt.in, tt.answer, tt.end), refs: packp.NewAdvRefs()}
		if err := r.fetch(t.Context(), order{wants: []plumbing.Hash{plumbing.NewHash("63fbbef0d0c9fc63fbbef0d0c9fc63fbbef0d0c9")}}); !errors.Is(err, tt.want) {
			t.Errorf("%.60q: %v, want %v", tt.answer, err, tt.want)
		}
	}
}
