package main

import (
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/buildkittest"
)

// TestBuildKit runs testdata/buildkit: what a person sees when a BuildKit daemon builds. It runs where there is one.
func TestBuildKit(t *testing.T) {
	daemon := buildkittest.Start(t, "")
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/buildkit",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			env.Setenv("GORACE", "atexit_sleep_ms=10")
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("DOCKER_CONFIG", env.WorkDir+"/docker")
			env.Setenv("XDG_CACHE_HOME", env.WorkDir+"/cache")
			env.Setenv("BUILDKIT_HOST", daemon.Address)
			return nil
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits, "harbor": startHarbor, "json": jsonField, "secretless": secretless, "inspect": inspect, "pull": pull, "busybox": makeBusybox,
		},
	})
}
