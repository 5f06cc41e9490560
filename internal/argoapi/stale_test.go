package argoapi

import (
	"context"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

// pipes are connections in memory, of which the first one can be cut off.
type pipes struct {
	accepted chan net.Conn
	closed   sync.Once
	made     int
	cut      atomic.Bool
}

func (p *pipes) Accept() (net.Conn, error) {
	if c, open := <-p.accepted; open {
		return c, nil
	}
	return nil, net.ErrClosed
}

func (p *pipes) Close() error   { p.closed.Do(func() { close(p.accepted) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1)} }

func (p *pipes) dial(context.Context, string, string) (net.Conn, error) {
	near, far := net.Pipe()
	p.accepted <- far
	if p.made++; p.made == 1 {
		return severed{near, &p.cut}, nil
	}
	return near, nil
}

// severed is a connection on which nothing arrives any more once it is cut.
type severed struct {
	net.Conn
	cut *atomic.Bool
}

func (s severed) Write(text []byte) (int, error) {
	if s.cut.Load() {
		return len(text), nil
	}
	return s.Conn.Write(text)
}

// TestStaleConnection wants a connection that nothing comes through any more to spoil one question, and not all that follow.
func TestStaleConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &pipes{accepted: make(chan net.Conn)}
		s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, `{"metadata":{"name":"web"}}`)
		}))
		s.Listener.Close()
		s.Listener, s.EnableHTTP2 = p, true
		s.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(s.Certificate())
		r, err := OpenREST(Options{Address: "127.0.0.1", Token: "T0ken", Roots: roots})
		if err != nil {
			t.Fatal(err)
		}
		way := r.http.Transport.(*http.Transport)
		way.DialContext = p.dial
		for i, fails := range []bool{false, true, false} {
			p.cut.Store(i > 0)
			if _, err := r.Application(t.Context(), "web", false); (err != nil) != fails {
				t.Errorf("question %d: %v", i, err)
			}
		}
		way.CloseIdleConnections()
		s.CloseClientConnections()
		s.Close()
	})
}
