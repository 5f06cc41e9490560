package dockerfile_test

import (
	"os"
	"sync"
	"syscall"
	"testing"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/engine"
	"github.com/ksera524/imgbump/internal/sandbox/wire"
	"github.com/ksera524/imgbump/internal/without"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 && os.Args[1] == wire.Verb {
		syscall.Exit(engine.Main(os.Args[2:])) // which is quick with the race detector too
	}
	os.Exit(m.Run())
}

// sandboxes gives a sandbox for each engine, which lives as long as the test.
func sandboxes(t *testing.T) func(t *testing.T, isolation string) *sandbox.Sandbox {
	t.Helper()
	known := map[string]*sandbox.Sandbox{}
	var mu sync.Mutex
	return func(part *testing.T, isolation string) *sandbox.Sandbox {
		part.Helper()
		if os.Geteuid() != 0 {
			without.Skip(part, "root")
		}
		if _, err := os.Stat(busybox); err != nil {
			without.Skip(part, "busybox-static")
		}
		mu.Lock()
		defer mu.Unlock()
		s := known[isolation]
		if s == nil {
			s = sandbox.New(sandbox.Options{Isolation: isolation})
			t.Cleanup(func() { must(t, s.Close()) })
			known[isolation] = s
		}
		if err := s.Probe(part.Context()); err != nil {
			without.Skip(part, isolation+": "+err.Error())
		}
		return s
	}
}
