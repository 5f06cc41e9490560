package webhook

import (
	"crypto/sha256"
	"sync"
	"time"
)

// A delivery is remembered for remembered to twice as long, and no more than twice maxRemembered are.
const (
	remembered    = 10 * time.Minute
	maxRemembered = 4096
)

// deliveries are those that were accepted lately, by what their senders call them.
type deliveries struct {
	mu           sync.Mutex
	newer, older map[[sha256.Size]byte]struct{}
	since        time.Time // when newer was begun
}

// has reports whether a delivery was added.
func (d *deliveries) has(id string) bool {
	key := sha256.Sum256([]byte(id))
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn()
	_, newer := d.newer[key]
	_, older := d.older[key]
	return newer || older
}

func (d *deliveries) add(id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.turn()
	d.newer[sha256.Sum256([]byte(id))] = struct{}{}
}

// turn forgets the older ones when the newer ones are full or old.
func (d *deliveries) turn() {
	now := time.Now()
	if age := now.Sub(d.since); d.newer == nil || len(d.newer) >= maxRemembered || age >= remembered {
		d.older = d.newer
		if age >= 2*remembered {
			d.older = nil
		}
		d.newer, d.since = map[[sha256.Size]byte]struct{}{}, now
	}
}
