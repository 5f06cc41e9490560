package statuspage

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	most      = 128              // clients with live updates at a time
	pace      = time.Second      // between two events for a client
	heartbeat = 20 * time.Second // of silence, for proxies that end silent connections
	patience  = 10 * time.Second // for a client to take an event
)

// clients counts those who get live updates.
type clients struct{ n atomic.Int64 }

func (c *clients) enter() bool {
	if c.n.Add(1) > most {
		c.n.Add(-1)
		return false
	}
	return true
}

func (c *clients) leave() { c.n.Add(-1) }

// pulse is what an event tells: which version of each region is the newest. It is the whole state, so that none that was
// missed is missing.
type pulse struct {
	Now     int64             `json:"now"` // milliseconds, by which a browser knows how wrong its clock is
	Assets  string            `json:"assets"`
	Regions map[string]string `json:"regions"`
}

// events tells of changes as they happen (server-sent events), at most once a second.
func (p *page) events(w http.ResponseWriter, r *http.Request) {
	if !p.clients.enter() {
		w.Header().Set("Retry-After", "30")
		http.Error(w, "too many live pages", http.StatusServiceUnavailable)
		return
	}
	defer p.clients.leave()
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	for {
		v := p.view()
		if err := p.tell(w, out, v); err != nil {
			return
		}
		for waiting := true; waiting; {
			select {
			case <-v.changed:
				waiting = false
			case <-time.After(heartbeat):
				out.SetWriteDeadline(time.Now().Add(patience))
				fmt.Fprint(w, ":\n\n")
				if out.Flush() != nil {
					return
				}
			case <-r.Context().Done():
				return
			case <-p.Stop:
				return
			}
		}
		select {
		case <-time.After(pace):
		case <-r.Context().Done():
			return
		case <-p.Stop:
			return
		}
	}
}

// tell sends what is the newest.
func (p *page) tell(w http.ResponseWriter, out *http.ResponseController, v *view) error {
	m := pulse{Now: p.Now().UnixMilli(), Assets: assetsVersion, Regions: map[string]string{}}
	for _, r := range v.regions {
		m.Regions[r.ID] = r.Version
	}
	data, err := json.Marshal(m)
	if err != nil {
		return err
	}
	out.SetWriteDeadline(time.Now().Add(patience))
	if _, err := fmt.Fprintf(w, "retry: 2000\ndata: %s\n\n", data); err != nil {
		return err
	}
	return out.Flush()
}
