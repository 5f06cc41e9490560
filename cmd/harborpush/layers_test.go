package main

import (
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/image"
)

func TestTransferred(t *testing.T) {
	for want, p := range map[string]image.Progress{
		"layer  1  25.0 MB  12.5 MB/s":                                        {Layer: 1, Sent: 25_000_000},
		"layer  2  [======                  ] 25.0 MB of 100.0 MB  12.5 MB/s": {Layer: 2, Sent: 25_000_000, LayerReceipt: image.LayerReceipt{Size: 100_000_000}},
		"layer  3  [========================] 2.0 kB of 1.0 kB  ":             {Layer: 3, Sent: 2000, LayerReceipt: image.LayerReceipt{Size: 1000}},
	} {
		if got := transferred(p, 2*time.Second); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
