package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/registrytest"
)

func TestMain(m *testing.M) {
	asSandbox()
	testscript.Main(m, map[string]func(){"harborpush": main})
}

// The account that scripts log in with.
const (
	robot    = "robot$team+ci"
	password = "S3cretOfTheRobot"
)

// TestScript runs testdata/script: what a person sees of harborpush, against a registry that answers as Harbor does.
func TestScript(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir:                 "testdata/script",
		RequireExplicitExec: true,
		RequireUniqueNames:  true,
		Setup: func(env *testscript.Env) error {
			root, err := filepath.Abs("../..")
			if err != nil {
				return err
			}
			env.Setenv("ROOT", root)
			env.Setenv("GORACE", "atexit_sleep_ms=10") // a program with the race detector sleeps a second when it ends
			env.Setenv("HOME", env.WorkDir)
			env.Setenv("DOCKER_CONFIG", env.WorkDir+"/docker")
			env.Setenv("SOURCE_DATE_EPOCH", "1767225600")
			env.Setenv("XDG_CACHE_HOME", env.WorkDir+"/cache")
			env.Setenv("PASSWORD", password)
			env.Setenv("ROBOT", robot)
			return nil
		},
		Condition: isolates,
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits":      exits,
			"harbor":     startHarbor,
			"registry":   openRegistry,
			"down":       down,
			"json":       jsonField,
			"secretless": secretless,
			"inspect":    inspect,
			"attach":     attach,
			"pull":       pull,
			"stock":      stock,
			"left":       left,
			"labelled":   labelled,
			"described":  described,
			"cluster":    startCluster,
			"inherited":  inherited,

			"web":         serveFolder,
			"busybox":     makeBusybox,
			"git-serve":   gitServe,
			"git-refuses": gitRefuses,
		},
	})
}

// exits CODE PROGRAM ARG... runs a program that must end with the exit code.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	err := ts.Exec(args[1], args[2:]...)
	var ended *exec.ExitError
	if !errors.As(err, &ended) || fmt.Sprint(ended.ExitCode()) != args[0] {
		ts.Fatalf("%v, want exit code %s", err, args[0])
	}
}

// startHarbor, as harbor [SETTING...], starts a Harbor with project team, and sets HOST and the login's environment.
// Settings: readonly, tls (CA in ca.pem), quota, immutable (tags rel-*), reader (the login may not push),
// admin (it may do all), late (its clock stands in 2001).
func startHarbor(ts *testscript.TestScript, neg bool, args []string) {
	config := registrytest.Config{
		Projects: []string{"team", "base"}, Public: []string{"base"},
		Robots:   []registrytest.Robot{{Name: robot, Secret: password, Project: "team", Push: !slices.Contains(args, "reader"), Admin: slices.Contains(args, "admin")}},
		ReadOnly: slices.Contains(args, "readonly"),
		TLS:      slices.Contains(args, "tls"),
		Names:    []string{"harbor.test"},
	}
	if slices.Contains(args, "quota") {
		config.Quota = map[string]int64{"team": 10}
	}
	if slices.Contains(args, "immutable") {
		config.Immutable = []string{"team/*:rel-*"}
	}
	if slices.Contains(args, "late") {
		config.Instead = func(w http.ResponseWriter, _ *http.Request) bool {
			w.Header().Set("Date", "Sat, 01 Dec 2001 00:00:00 GMT")
			return false
		}
	}
	s, err := registrytest.New(config)
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	if config.TLS {
		ts.Check(os.WriteFile(ts.MkAbs("ca.pem"), s.CA, 0o644))
	}
	_, port, _ := net.SplitHostPort(s.Host)
	ts.Setenv("HOST", s.Host)
	ts.Setenv("PORT", port)
	ts.Setenv("HARBOR_USERNAME", robot)
	ts.Setenv("HARBOR_PASSWORD", password)
}

// openRegistry starts a registry that wants no login, and sets OTHER.
func openRegistry(ts *testscript.TestScript, neg bool, args []string) {
	s, err := registrytest.New(registrytest.Config{})
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	ts.Setenv("OTHER", s.Host)
}

// down sets HOST to an address where nothing listens.
func down(ts *testscript.TestScript, neg bool, args []string) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	ts.Setenv("HOST", listener.Addr().String())
	ts.Check(listener.Close())
}

// jsonField KEY WANT compares a field of the JSON document on stdout, itself as JSON; KEY may be a.b, with numbers for
// list elements, and len for the length of a list.
func jsonField(ts *testscript.TestScript, neg bool, args []string) {
	var value any
	ts.Check(json.Unmarshal([]byte(ts.ReadFile("stdout")), &value))
	for key := range strings.SplitSeq(args[0], ".") {
		switch v := value.(type) {
		case map[string]any:
			value = v[key]
		case []any:
			if key == "len" {
				value = len(v)
				continue
			}
			var i int
			ts.Check(json.Unmarshal([]byte(key), &i))
			value = v[i]
		default:
			ts.Fatalf("%s: no %s in %v", args[0], key, value)
		}
	}
	got, err := json.Marshal(value)
	ts.Check(err)
	if string(got) != args[1] {
		ts.Fatalf("%s is %s, want %s", args[0], got, args[1])
	}
}

// secretless holds that the last command told nobody the password.
func secretless(ts *testscript.TestScript, neg bool, args []string) {
	for _, stream := range []string{"stdout", "stderr"} {
		if text := ts.ReadFile(stream); strings.Contains(text, password) || strings.Contains(text, "wr0ngPassword") || strings.Contains(text, clusterToken) {
			ts.Fatalf("%s tells the password:\n%s", stream, text)
		}
	}
}
