package webhook_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ksera524/imgbump/internal/webhook"
)

// pipes is a network inside the process, so that its deadlines are those of a test's clock.
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

// serving is a test with a real server around a receiver; dial is a connection to it.
func serving(t *testing.T, o webhook.Options, test func(t *testing.T, rc *receiver, dial func() net.Conn)) {
	synctest.Test(t, func(t *testing.T) {
		rc := newReceiver(t, o)
		network := make(pipes)
		server := &http.Server{Handler: rc}
		go server.Serve(network) //nolint:errcheck // it ends with the test
		test(t, rc, func() net.Conn {
			client, accepted := net.Pipe()
			network <- accepted
			return client
		})
		close(network)
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

// begin sends the head of a delivery, and some of its body.
func begin(t *testing.T, conn net.Conn, address string, length int, body string) {
	t.Helper()
	if _, err := fmt.Fprintf(conn, "POST %s HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%s", address, length, body); err != nil {
		t.Error(err)
	}
}

// status is the status of the answer on a connection.
func status(t *testing.T, conn net.Conn) int {
	t.Helper()
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Error(err)
		return 0
	}
	defer resp.Body.Close()
	_, _ = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Who sends a byte now and then is hung up on.
func TestSlowBody(t *testing.T) {
	serving(t, webhook.Options{Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "a", webhook.GHCR: "a"}}, func(t *testing.T, rc *receiver, dial func() net.Conn) {
		for _, address := range []string{"/webhook/harbor?secret=a", "/webhook/ghcr.io"} {
			start, conn := time.Now(), dial()
			begin(t, conn, address, 1000, "{")
			var dripping sync.WaitGroup
			dripping.Go(func() {
				for {
					time.Sleep(time.Second)
					if _, err := io.WriteString(conn, " "); err != nil {
						return
					}
				}
			})
			if got, took := status(t, conn), time.Since(start); got != http.StatusRequestTimeout || took != 10*time.Second || rc.outcome() != webhook.Malformed {
				t.Errorf("%s: status %d after %s, outcome %q", address, got, took, rc.outcome())
			}
			conn.Close()
			dripping.Wait()
		}
	})
}

// A stranger who does not send what it announces is not waited for.
func TestSlowStranger(t *testing.T) {
	serving(t, webhook.Options{Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "a"}}, func(t *testing.T, rc *receiver, dial func() net.Conn) {
		start, conn := time.Now(), dial()
		begin(t, conn, "/webhook/harbor?secret=x", 1000, "")
		go func() { // the server drops a little of a body itself before it answers
			if got := status(t, conn); got != http.StatusUnauthorized {
				t.Errorf("status %d", got)
			}
		}()
		synctest.Wait()
		if rc.outcome() != webhook.Unauthorized || time.Since(start) > 0 {
			t.Errorf("outcome %q after %s", rc.outcome(), time.Since(start))
		}
		time.Sleep(11 * time.Second)
		if _, err := io.WriteString(conn, "x"); err == nil {
			t.Error("the connection is still open after 11 seconds")
		}
		conn.Close()
	})
}

// Only so many bodies are held at a time; the types do not crowd each other out.
func TestCrowded(t *testing.T) {
	serving(t, webhook.Options{Secrets: map[webhook.Kind]webhook.Secret{webhook.Harbor: "a", webhook.GHCR: "a"}}, func(t *testing.T, rc *receiver, dial func() net.Conn) {
		var slow []net.Conn
		for range 32 {
			conn := dial()
			begin(t, conn, "/webhook/ghcr.io", 1000, "{")
			slow = append(slow, conn)
		}
		synctest.Wait()
		start, late := time.Now(), dial()
		begin(t, late, "/webhook/ghcr.io", 0, "")
		if got, took := status(t, late), time.Since(start); got != http.StatusTooManyRequests || took != 2*time.Second {
			t.Errorf("status %d after %s", got, took)
		}
		harbor := string(read(t, "harbor/push-artifact.json"))
		begin(t, late, "/webhook/harbor?secret=a", len(harbor), harbor)
		if got, took := status(t, late), time.Since(start); got != http.StatusAccepted || took != 2*time.Second {
			t.Errorf("another type: status %d after %s", got, took)
		}
		if _, err := io.WriteString(slow[0], strings.Repeat(" ", 999)); err != nil {
			t.Error(err)
		}
		if got := status(t, slow[0]); got != http.StatusUnauthorized {
			t.Errorf("status %d", got)
		}
		begin(t, late, "/webhook/ghcr.io", 0, "")
		if got, took := status(t, late), time.Since(start); got != http.StatusUnauthorized || took != 2*time.Second {
			t.Errorf("when there is room again: status %d after %s", got, took)
		}
		for _, conn := range append(slow, late) {
			conn.Close()
		}
	})
}
