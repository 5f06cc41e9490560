package registry

import (
	"context"
	"errors"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

// party is a registry of which only the times are known: how long it takes to read a piece, to answer, to send a piece.
type party struct{ reads, answers, sends time.Duration }

func (p party) RoundTrip(r *http.Request) (*http.Response, error) {
	for r.Body != nil {
		if _, err := r.Body.Read(make([]byte, 1)); err != nil {
			break
		}
		if err := pass(r.Context(), p.reads); err != nil {
			return nil, err
		}
	}
	if err := pass(r.Context(), p.answers); err != nil {
		return nil, err
	}
	return &http.Response{Body: io.NopCloser(&slow{r.Context(), p.sends, 5})}, nil
}

func pass(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(d):
		return nil
	}
}

// slow has some bytes, each of which takes its time.
type slow struct {
	ctx  context.Context
	each time.Duration
	left int
}

func (s *slow) Read(p []byte) (int, error) {
	if s.left == 0 {
		return 0, io.EOF
	}
	s.left--
	return 1, pass(s.ctx, s.each)
}

func TestSilence(t *testing.T) {
	const long = time.Hour
	for name, tt := range map[string]struct {
		method, query string
		ours          time.Duration // that we take over each piece of the body
		party         party
		want          time.Duration // after which it ends; 0 is never
	}{
		"no answer to a question":     {method: "GET", party: party{answers: long}, want: answerTimeout},
		"an answer just in time":      {method: "GET", party: party{answers: answerTimeout - 1}},
		"no answer to a manifest":     {method: "PUT", party: party{answers: long}, want: answerTimeout},
		"no answer to content":        {method: "PATCH", party: party{answers: long}, want: closingTimeout},
		"no answer to the digest":     {method: "PUT", query: "?digest=sha256:0", party: party{answers: long}, want: closingTimeout},
		"a slow copy":                 {method: "PUT", query: "?digest=sha256:0", party: party{answers: closingTimeout - 1}},
		"it stops reading":            {method: "PATCH", party: party{reads: long}, want: idleTimeout},
		"it reads slowly":             {method: "PATCH", party: party{reads: idleTimeout - 1}},
		"we are slow to make content": {method: "PATCH", ours: long},
		"it stops sending":            {method: "GET", party: party{sends: long}, want: idleTimeout},
		"it sends slowly":             {method: "GET", party: party{sends: idleTimeout - 1}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := http.NewRequestWithContext(t.Context(), tt.method, "http://harbor.test/v2/"+tt.query, &slow{t.Context(), tt.ours, 5})
				if err != nil {
					t.Fatal(err)
				}
				if tt.method == http.MethodGet {
					r.Body = nil
				}
				got := converse(&bounded{tt.party, answerTimeout, closingTimeout, idleTimeout}, r)
				want := error(nil)
				if tt.want > 0 {
					want = silence{"harbor.test", tt.want}
				}
				if !errors.Is(got, want) {
					t.Errorf("error %v, want %v", got, want)
				}
			})
		})
	}
}

// converse sends r and reads the answer, with a long pause of our own in between.
func converse(b *bounded, r *http.Request) error {
	resp, err := b.RoundTrip(r)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if _, err := io.ReadFull(resp.Body, make([]byte, 1)); err != nil {
		return err
	}
	if err := pass(r.Context(), time.Hour); err != nil {
		return err
	}
	_, err = io.ReadAll(resp.Body)
	return err
}

// TestCancelledIsNoSilence ends a request for the caller's own reason.
func TestCancelledIsNoSilence(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://harbor.test/", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := (&bounded{party{answers: time.Hour}, time.Hour, time.Hour, time.Hour}).RoundTrip(r); !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
}
