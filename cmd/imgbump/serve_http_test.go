package main

import (
	"bufio"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// A standby hands on what it is asked, once, and takes nothing upon itself.
func TestHandedOn(t *testing.T) {
	leader := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "leader: %s %s %q", r.Method, r.Host, r.Header.Get(handed))
	}))
	t.Cleanup(leader.Close)
	gone := httptest.NewServer(http.NotFoundHandler())
	gone.Close()
	own := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "own") })
	for _, x := range []struct {
		name, leader, method string
		leads, again         bool
		code                 int
		text                 string
	}{
		{"it leads", "", "POST", true, false, 200, "own"},
		{"it leads, and was handed this", "", "POST", true, true, 200, "own"},
		{"another leads", leader.URL, "POST", false, false, 200, `leader: POST imgbump.example.com "1"`},
		{"another leads, who believes that this one does", leader.URL, "POST", false, true, 503, "does not lead"},
		{"another leads, and is gone", gone.URL, "POST", false, false, 503, "does not answer"},
		{"nobody is known to lead", "", "POST", false, false, 503, "does not lead"},
		{"nobody is known to lead, and somebody reads", "", "GET", false, false, 200, "own"},
		{"nobody is known to lead, and it was handed this", "", "GET", false, true, 503, "does not lead"},
	} {
		s := service{log: slog.New(slog.DiscardHandler)}
		s.leads.Store(x.leads)
		if u, err := url.Parse(x.leader); err == nil && x.leader != "" {
			s.leader.Store(u)
		}
		r := httptest.NewRequest(x.method, "http://imgbump.example.com/webhook?type=harbor", nil)
		if x.again {
			r.Header.Set(handed, "1")
		}
		r.Header.Set("Connection", handed) // which is not to keep the mark from being set
		w := httptest.NewRecorder()
		s.handedOn(own).ServeHTTP(w, r)
		if w.Code != x.code || !strings.Contains(w.Body.String(), x.text) || (x.code == 503) != (w.Header().Get("Retry-After") != "") {
			t.Errorf("%s: %d %v %s", x.name, w.Code, w.Header(), w.Body)
		}
	}
}

// The leader is a pod beside this one, whatever proxy leads to registries. One that is silent is not waited for as long as it
// likes.
func TestWayToLeader(t *testing.T) {
	s := service{log: slog.New(slog.DiscardHandler)}
	way := s.wayToLeader().(*httputil.ReverseProxy).Transport.(*http.Transport)
	if way.Proxy != nil {
		t.Error("the leader is asked through a proxy")
	}
	if way.ResponseHeaderTimeout == 0 {
		t.Error("a silent leader is waited for")
	}
}

// What the Lease says of the leader's address is followed to a server of HTTP, and is no login.
func TestReplicaAt(t *testing.T) {
	for address, want := range map[string]bool{
		"http://10.0.0.7:8080": true, "https://imgbump-0.imgbump:8443": true, "http://[fd00::7]:8080": true,
		"": false, "10.0.0.7:8080": false, "//10.0.0.7": false, "http:10.0.0.7": false, "file://host/etc/passwd": false, "ftp://10.0.0.7": false,
		"http://robot:s3cret@10.0.0.7": false, "http://10.0.0.7:x": false, "http://": false,
	} {
		if got := replicaAt(address); (got != nil) != want {
			t.Errorf("%q is followed to %v", address, got)
		}
	}
}

// Ready is who leads or knows the leader, and does not stop.
func TestReady(t *testing.T) {
	var s service
	ready := func() int {
		w := httptest.NewRecorder()
		s.ready(w, nil)
		return w.Code
	}
	if code := ready(); code != 503 {
		t.Errorf("nobody is known to lead: %d", code)
	}
	s.leader.Store(&url.URL{})
	if code := ready(); code != 200 {
		t.Errorf("another one leads: %d", code)
	}
	s.leader.Store(nil)
	s.leads.Store(true)
	if code := ready(); code != 200 {
		t.Errorf("it leads: %d", code)
	}
	s.stopping.Store(true)
	if code := ready(); code != 503 {
		t.Errorf("it stops: %d", code)
	}
}

// Who neither sends nor takes anything is cut off; what comes in parts goes on for as long as it likes.
func TestHurried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		network := make(pipes)
		server := &http.Server{Handler: hurried(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if _, err := io.ReadAll(r.Body); err != nil {
				return
			}
			switch r.URL.Path {
			case "/large":
				io.Copy(w, strings.NewReader(strings.Repeat("x", 1<<20)))
			case "/live":
				for range 10 {
					time.Sleep(sending / 2)
					io.WriteString(w, "x")
					http.NewResponseController(w).Flush()
				}
			}
		}))}
		go server.Serve(network)
		dial := func(request string) net.Conn {
			client, accepted := net.Pipe()
			network <- accepted
			io.WriteString(client, request)
			return client
		}
		for request, most := range map[string]time.Duration{
			"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nx": arrival,
			"GET /large HTTP/1.1\r\nHost: x\r\n\r\n":                    sending,
		} {
			start := time.Now()
			conn := dial(request)
			time.Sleep(most + time.Second)
			synctest.Wait()
			io.Copy(io.Discard, conn) // what was under way, and then the end
			if took := time.Since(start); took > most+2*time.Second {
				t.Errorf("%q is cut off after %v", request, took)
			}
		}
		resp, err := http.ReadResponse(bufio.NewReader(dial("GET /live HTTP/1.1\r\nHost: x\r\n\r\n")), nil)
		if err != nil {
			t.Fatal(err)
		}
		if all, err := io.ReadAll(resp.Body); err != nil || len(all) != 10 {
			t.Errorf("live updates: %q, %v", all, err)
		}
		close(network)
		server.Close()
	})
}

// pipes is a network inside the process, so that its deadlines are those of the test's clock.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	conn, ok := <-p
	if !ok {
		return nil, net.ErrClosed
	}
	return conn, nil
}
func (p pipes) Close() error { return nil }
func (pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }
