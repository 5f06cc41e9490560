package image

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"
)

func TestLedgerParallel(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x", "l.json")
	var wg sync.WaitGroup
	for i := range 50 {
		wg.Go(func() {
			OpenLedger(file).note(line{Key: fmt.Sprint(i), Size: 1})
			if _, ok := OpenLedger(file).known(fmt.Sprint(i)); !ok {
				t.Errorf("%d lost", i)
			}
		})
	}
	wg.Wait()
	if n := len(OpenLedger(file).read()); n != 50 {
		t.Errorf("%d", n)
	}
}
