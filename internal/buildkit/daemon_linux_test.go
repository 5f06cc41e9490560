package buildkit_test

import (
	"testing"

	"github.com/ksera524/imgbump/internal/buildkit"
	"github.com/ksera524/imgbump/internal/buildkittest"
)

// daemon is a BuildKit that lives as long as the test.
type daemon struct{ *buildkittest.Daemon }

func startDaemon(t *testing.T, config string, args ...string) daemon {
	t.Helper()
	return daemon{buildkittest.Start(t, config, args...)}
}

// client is one of the daemon.
func (d daemon) client(t *testing.T) *buildkit.Client {
	t.Helper()
	c, err := buildkit.New(buildkit.Options{Address: d.Address})
	must(t, err)
	return c
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
