package engine

import (
	"io"
	"net"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// forward listens on a socket in the store that has the owner and mode a mount asks for, and passes every connection on to
// the socket outside.
func (s *store) forward(m *step.Mount) (name string, stop func(), err error) {
	dir, err := unix.Open(s.dir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", nil, failed("open", s.dir, err)
	}
	defer unix.Close(dir)
	name = s.name()
	path := s.path(name)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: inProc(dir) + "/" + name}) // since the folder's path may be too long for an address
	if err != nil {
		return "", nil, failed("listen on", "a socket", err)
	}
	l.SetUnlinkOnClose(false)
	f := &forwarder{to: m.Socket, open: map[net.Conn]bool{}}
	stop = func() { l.Close(); f.stop(); s.drop(name) }
	if err := os.Chown(path, int(m.UID), int(m.GID)); err != nil {
		stop()
		return "", nil, failed("chown", "a socket", err)
	}
	if err := os.Chmod(path, m.Mode.Perm()); err != nil {
		stop()
		return "", nil, failed("chmod", "a socket", err)
	}
	go f.accept(l)
	return name, stop, nil
}

// forwarder passes connections on.
type forwarder struct {
	to string

	mu   sync.Mutex
	open map[net.Conn]bool // nil when it has stopped
}

func (f *forwarder) accept(l net.Listener) {
	for {
		inside, err := l.Accept()
		if err != nil {
			return
		}
		go f.pass(inside)
	}
}

func (f *forwarder) pass(inside net.Conn) {
	defer inside.Close()
	outside, err := net.Dial("unix", f.to)
	if err != nil {
		return
	}
	defer outside.Close()
	if !f.note(inside, outside) {
		return
	}
	defer f.forget(inside, outside)
	done := make(chan struct{})
	go func() {
		defer close(done)
		io.Copy(outside, inside)
		outside.(*net.UnixConn).CloseWrite()
	}()
	io.Copy(inside, outside)
	inside.(*net.UnixConn).CloseWrite()
	<-done
}

func (f *forwarder) note(conns ...net.Conn) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.open == nil {
		return false
	}
	for _, c := range conns {
		f.open[c] = true
	}
	return true
}

func (f *forwarder) forget(conns ...net.Conn) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, c := range conns {
		delete(f.open, c)
	}
}

// stop closes every connection that is still open.
func (f *forwarder) stop() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for c := range f.open {
		c.Close()
	}
	f.open = nil
}
