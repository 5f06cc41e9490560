package cli

import (
	"context"
	"errors"
	"io"
	"testing"
)

// TestInput wants all of standard input, and no read to outlive the context.
func TestInput(t *testing.T) {
	from, to := io.Pipe()
	defer to.Close()
	ctx, cancel := context.WithCancel(t.Context())
	in := (&Console{Streams: Streams{In: from}}).Input(ctx)
	go to.Write([]byte("standard input"))
	text := make([]byte, 14)
	if _, err := io.ReadFull(in, text[:3]); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(in, text[3:]); err != nil || string(text) != "standard input" {
		t.Errorf("%q, %v", text, err)
	}
	go cancel()
	for range 2 {
		if _, err := in.Read(text); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
}
