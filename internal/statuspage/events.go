package statuspage

import (
	"encoding/json"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"
)

const (
	most      = 128                   // clients with live updates at a time
	pace      = time.Second           // between two events for a client
	gather    = 50 * time.Millisecond // after a change, for those that come with it
	heartbeat = 20 * time.Second      // of silence, for proxies that end silent connections
	patience  = 10 * time.Second      // for a client to take an event
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
	l := listener{w, http.NewResponseController(w)}
	for {
		v := p.view()
		if l.send("retry: 2000\ndata: %s\n\n", p.pulse(v)) != nil {
			return
		}
		next := time.After(pace)
		for changed := false; !changed; {
			select {
			case <-v.changed:
				changed = true
			case <-time.After(heartbeat):
				if l.send(":\n\n") != nil {
					return
				}
			case <-r.Context().Done():
				return
			case <-p.Stop:
				return
			}
		}
		for _, wait := range []<-chan time.Time{time.After(gather), next} {
			select {
			case <-wait:
			case <-r.Context().Done():
				return
			case <-p.Stop:
				return
			}
		}
	}
}

// pulse is what an event tells of a view.
func (p *page) pulse(v *view) []byte {
	m := pulse{Now: p.Now().UnixMilli(), Assets: assetsVersion, Regions: map[string]string{}}
	for _, r := range v.regions {
		m.Regions[r.ID] = r.Version
	}
	text, err := json.Marshal(m)
	if err != nil {
		panic(err) // plain values
	}
	return text
}

// listener is a client of events.
type listener struct {
	w   http.ResponseWriter
	out *http.ResponseController
}

// send writes at once, and gives a client up that does not read.
func (l listener) send(format string, args ...any) error {
	_ = l.out.SetWriteDeadline(time.Now().Add(patience)) // where it is not supported the server has its own
	if _, err := fmt.Fprintf(l.w, format, args...); err != nil {
		return err
	}
	return l.out.Flush()
}
