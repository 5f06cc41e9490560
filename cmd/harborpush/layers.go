package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/image"
)

// layerFlags say how layers are made.
type layerFlags struct {
	compression string
	level       int
}

func (f *layerFlags) bind(flags *pflag.FlagSet, which string) {
	flags.StringVar(&f.compression, "compression", "", "`KIND` of compression for "+which+": gzip, zstd or none")
	flags.IntVar(&f.level, "compression-level", 0, "`LEVEL` of it: gzip has 1 to 9, zstd 1 to 22 (default the fastest)")
}

// options are what is asked for, with the ledger that the destination uses too.
func (f *layerFlags) options(ledger *image.Ledger) (image.Options, error) {
	compression, err := image.ParseCompression(f.compression, f.level)
	return image.Options{Compression: compression, Ledger: ledger}, err
}

// transfers draws the layers that are on their way, and tells of each that is done.
type transfers struct {
	console *cli.Console
	drawing *cli.Progress

	mu      sync.Mutex
	started map[int]time.Time
	took    map[string]time.Duration // of those that are done, by digest
}

func newTransfers(c *cli.Console) *transfers {
	return &transfers{console: c, drawing: c.Progress(), started: map[int]time.Time{}, took: map[string]time.Duration{}}
}

func (t *transfers) progress(p image.Progress) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if p.Status != "" {
		if began, ok := t.started[p.Layer]; ok {
			t.took[p.Digest.String()] = time.Since(began)
		}
		delete(t.started, p.Layer)
		t.drawing.Remove(p.Layer)
		t.console.Progressf("layer %s %10s  %s%s", p.Digest.Hex[:12], size(p.Size), p.Status, in(t.took[p.Digest.String()]))
		return
	}
	if _, known := t.started[p.Layer]; !known {
		t.started[p.Layer] = time.Now()
	}
	t.drawing.Show(p.Layer, transferred(p, time.Since(t.started[p.Layer])))
}

const barWidth = 24

// transferred is one line on a layer under way. How large it gets is not known while it is made.
func transferred(p image.Progress, since time.Duration) string {
	bar := size(p.Sent)
	if p.Size > 0 {
		done := int(min(p.Sent, p.Size) * barWidth / p.Size)
		bar = fmt.Sprintf("[%-*s] %s of %s", barWidth, strings.Repeat("=", done), size(p.Sent), size(p.Size))
	}
	return fmt.Sprintf("layer %2d  %s  %s", p.Layer, bar, speed(p.Sent, since))
}

// speed is how fast bytes went, "" when there were too few to tell.
func speed(bytes int64, took time.Duration) string {
	if bytes < 1_000_000 || took < 100*time.Millisecond {
		return ""
	}
	return size(int64(float64(bytes)/took.Seconds())) + "/s"
}
