package statuspage_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/status"
	"github.com/ksera524/imgbump/internal/statuspage"
)

// stream is a client that takes events as they come.
type stream struct {
	mu      sync.Mutex
	header  http.Header
	code    int
	written []string
	left    bool
}

func (s *stream) Header() http.Header              { return s.header }
func (s *stream) SetWriteDeadline(time.Time) error { return nil }
func (s *stream) FlushError() error                { return nil }

func (s *stream) Write(text []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.written = append(s.written, string(text))
	return len(text), nil
}

func (s *stream) WriteHeader(code int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.code = code
}

func (s *stream) status() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.code
}

// told are the events, without what only keeps the connection open.
func (s *stream) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []string
	for _, w := range s.written {
		if _, data, ok := strings.Cut(w, "data: "); ok {
			all = append(all, strings.TrimSpace(data))
		}
	}
	return all
}

// quiet is how often the connection was only kept open.
func (s *stream) quiet() int {
	told := len(s.told())
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.written) - told
}

// listen connects to /events.
func listen(h http.Handler) (*stream, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.Background())
	s := &stream{header: http.Header{}}
	go func() {
		h.ServeHTTP(s, httptest.NewRequestWithContext(ctx, "GET", "/events", nil))
		s.mu.Lock()
		defer s.mu.Unlock()
		s.left = true
	}()
	return s, cancel
}

// regionsOf are the versions that an event tells.
func regionsOf(t *testing.T, event string) map[string]string {
	t.Helper()
	var m struct{ Regions map[string]string }
	mark(t, json.Unmarshal([]byte(event), &m))
	return m.Regions
}

func TestEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := board(time.Now())
		h := statuspage.New(statuspage.Options{Board: b})
		s, leave := listen(h)
		synctest.Wait()
		if len(s.told()) != 1 || s.header.Get("Content-Type") != "text/event-stream" {
			t.Fatal(s.told(), s.header)
		}
		for n := range 50 { // ten changes a second
			b.Mark(target, status.Queued, time.Now().Add(time.Duration(n)*time.Second))
			time.Sleep(100 * time.Millisecond)
		}
		time.Sleep(2 * time.Second)
		events := s.told()
		if len(events) < 5 || len(events) > 8 {
			t.Errorf("50 changes in 5 seconds came as %d events", len(events))
		}
		before, after := regionsOf(t, events[0]), regionsOf(t, events[len(events)-1])
		changed := 0
		for id, version := range after {
			if before[id] != version {
				changed++
				if !strings.HasSuffix(id, "-head") {
					t.Errorf("%s did not change", id)
				}
			}
			page := answerTo(h, "/fragment?id="+id).Body.String()
			if !strings.Contains(page, `id="`+id+`" data-v="`+version+`"`) {
				t.Errorf("%s: %s was told, and is not what one gets: %.200s", id, version, page)
			}
		}
		if changed != 1 || len(after) != 4 {
			t.Errorf("%d of %d regions changed", changed, len(after))
		}
		time.Sleep(time.Minute)
		b.Record(target, time.Now(), round())
		time.Sleep(10 * time.Millisecond)
		b.Mark(target, status.Idle, time.Now())
		time.Sleep(60 * time.Millisecond)
		if got := len(s.told()) - len(events); got != 1 {
			t.Errorf("at once: %d events", got)
		}
		time.Sleep(2 * time.Second)
		if got := len(s.told()) - len(events); got != 1 {
			t.Errorf("what came together was told in %d events", got)
		}
		events = s.told()
		if quiet := s.quiet(); quiet != 3 {
			t.Errorf("%d heartbeats in a minute", quiet)
		}
		time.Sleep(3 * time.Minute)
		if got := len(s.told()); got != len(events) {
			t.Errorf("%d events without a change", got-len(events))
		}
		if quiet := s.quiet(); quiet < 11 || quiet > 13 {
			t.Errorf("%d heartbeats in 3 minutes", quiet)
		}
		leave()
		synctest.Wait()
	})
}

// TestPolls: a round that found nothing new makes nobody fetch the images again.
func TestPolls(t *testing.T) {
	versions := func(b *status.Board) map[string]string {
		all := map[string]string{}
		page := answerTo(statuspage.New(statuspage.Options{Board: b}), "/").Body.String()
		for _, m := range regexp.MustCompile(`id="([^"]*)" data-v="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			_, kind, _ := strings.Cut(m[1], "-")
			all[kind] = m[2]
		}
		return all
	}
	b := shown()
	r := round()
	r.Commits = nil
	r.Images[3].Checked = now.Add(-2 * time.Minute)
	b.Record(target, now, r)
	before := versions(b)
	for i := range r.Images {
		r.Images[i].Checked = now.Add(time.Hour)
	}
	b.Record(target, now.Add(time.Hour+time.Second), r)
	if after := versions(b); after["head"] == before["head"] || after["log"] != before["log"] || after["images"] != before["images"] {
		t.Errorf("before %v, after %v", before, after)
	}
}

// TestEventsEnd: live updates end with the server and with the client, and there is a bound to how many there are.
func TestEventsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stop := make(chan struct{})
		h := statuspage.New(statuspage.Options{Board: board(time.Now()), Stop: stop})
		var leave []context.CancelFunc
		var streams []*stream
		for range 129 {
			s, l := listen(h)
			streams, leave = append(streams, s), append(leave, l)
			synctest.Wait()
		}
		for n, s := range streams {
			if refused := s.status() == http.StatusServiceUnavailable; refused != (n == 128) {
				t.Errorf("client %d: %d", n, s.status())
			}
		}
		leave[0]()
		synctest.Wait()
		if s, l := listen(h); true {
			synctest.Wait()
			if len(s.told()) != 1 {
				t.Errorf("nobody took the place that is free: %d", s.status())
			}
			leave = append(leave, l)
		}
		close(stop)
		synctest.Wait()
		for n, s := range streams {
			s.mu.Lock()
			if !s.left {
				t.Errorf("client %d is still there", n)
			}
			s.mu.Unlock()
		}
		for _, l := range leave {
			l()
		}
	})
}
