package main

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/githubactions"
	"github.com/ksera524/imgbump/internal/ship"
)

// TestBuilder shows who builds, by what was asked for, what the Dockerfile needs and what can be done here.
func TestBuilder(t *testing.T) {
	const socket = "unix:///run/buildkit/buildkitd.sock"
	impossible := errors.New("unshare: operation not permitted")
	for _, tt := range []struct {
		builder, address, dockerfile string
		here                         error
		daemon                       bool
		said                         string
		native                       []string
	}{
		{"auto", socket, "FROM scratch\nRUN true\n", nil, false, "", nil},
		{"auto", socket, "FROM scratch\nRUN true\n", impossible, true, "builder: BuildKit at " + socket + ", since RUN cannot work here: unshare: operation not permitted", nil},
		{"auto", socket, "FROM scratch\nRUN true\n", impossible, true, "BuildKit builds without --cache-dir, --isolation, which", []string{"--cache-dir", "--isolation"}},
		{"auto", socket, "FROM scratch\nRUN true\n", nil, false, "", []string{"--cache-dir", "--isolation"}},
		{"auto", socket, "FROM scratch\nCOPY a /\n", impossible, false, "", nil},
		{"auto", socket, "FROM scratch AS unused\nRUN true\nFROM scratch\nCOPY a /\n", impossible, false, "", nil},
		{"auto", "", "FROM scratch\nRUN true\n", impossible, false, "", nil},
		{"native", socket, "FROM scratch\nRUN true\n", impossible, false, "", nil},
		{"buildkit", socket, "FROM scratch\nCOPY a /\n", nil, true, "", nil},
		{"buildkit", "tcp://buildkitd.example.com:1234", "FROM scratch\n", nil, true, "without certificates", nil},
		{"buildkit", "tcp://127.0.0.1:1234", "FROM scratch\n", nil, true, "", nil},
	} {
		var log bytes.Buffer
		getenv := func(name string) string { return map[string]string{"BUILDKIT_HOST": tt.address}[name] }
		c := &cli.Console{Streams: cli.Streams{Err: &log, Getenv: getenv}, Workflow: githubactions.New(getenv, &log)}
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "Dockerfile"), []byte(tt.dockerfile), 0o600); err != nil {
			t.Fatal(err)
		}
		f := builderFlags{name: tt.builder, native: tt.native}
		if err := f.open(c); err != nil {
			t.Errorf("%+v: %v", tt, err)
		}
		daemon, err := f.chosen(t.Context(), c, ship.Build{Context: dir}, func(context.Context) error { return tt.here })
		if err != nil || (daemon != nil) != tt.daemon || !strings.Contains(log.String(), tt.said) || tt.said == "" && log.Len() > 0 {
			t.Errorf("%+v: %v, %v\n%s", tt, daemon != nil, err, &log)
		}
	}
}
