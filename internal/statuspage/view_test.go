package statuspage

import (
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/status"
)

// TestKept: a region that is the same is not made again.
func TestKept(t *testing.T) {
	target := status.Target{Name: "k8s"}
	p := &page{Options: Options{Board: status.NewBoard(time.Now(), target), Now: time.Now}}
	before := p.view()
	if p.view() != before {
		t.Error("the same board is another view")
	}
	p.Board.Mark("k8s", status.Running, time.Time{})
	after := p.view()
	for id, kept := range map[string]bool{"summary": true, idOf(target) + "-head": false, idOf(target) + "-log": true, idOf(target) + "-images": true} {
		if before.region(id) == nil || (after.region(id) == before.region(id)) != kept {
			t.Errorf("%s: kept is not %t", id, kept)
		}
	}
}
