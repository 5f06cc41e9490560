package main

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/registrytest"
)

// The account of the registries that want a login.
const (
	robot         = "robot$team+ci"
	robotPassword = "S3cretOfTheRobot"
)

// registries are a script's, by the variable that has their host.
type registries map[string]*registrytest.Server

type registriesKey struct{}

// registryServe VARIABLE [private] starts a registry and sets the variable to its host. A private one wants the login
// $ROBOT, $PASSWORD.
func registryServe(ts *testscript.TestScript, neg bool, args []string) {
	config := registrytest.Config{}
	if len(args) > 1 {
		config = registrytest.Config{Projects: []string{"team"}, Robots: []registrytest.Robot{{Name: robot, Secret: robotPassword, Project: "team", Push: true}}}
	}
	s, err := registrytest.New(config)
	ts.Check(err)
	ts.Defer(func() { s.Close() })
	ts.Value(registriesKey{}).(registries)[args[0]] = s
	ts.Setenv(args[0], s.Host)
	ts.Setenv("ROBOT", robot)
	ts.Setenv("PASSWORD", robotPassword)
}

// pushImage REF DATE pushes an image that was made at that date, and sets $DIGEST to its digest.
func pushImage(ts *testscript.TestScript, neg bool, args []string) {
	made, err := time.Parse(time.RFC3339, args[1])
	ts.Check(err)
	img, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux", Architecture: "amd64", Created: v1.Time{Time: made}})
	ts.Check(err)
	ref, err := name.ParseReference(args[0])
	ts.Check(err)
	ts.Check(remote.Write(ref, img, remote.WithAuth(&authn.Basic{Username: robot, Password: robotPassword})))
	digest, err := img.Digest()
	ts.Check(err)
	ts.Setenv("DIGEST", digest.String())
	for _, s := range ts.Value(registriesKey{}).(registries) {
		s.Forget()
	}
}

// sawLogin VARIABLE holds that the registry was asked with a login since the last image; with ! that it was asked without.
func sawLogin(ts *testscript.TestScript, neg bool, args []string) {
	requests := ts.Value(registriesKey{}).(registries)[args[0]].Requests()
	if len(requests) == 0 {
		ts.Fatalf("%s was not asked", args[0])
	}
	saw := slices.ContainsFunc(requests, func(r registrytest.Request) bool { return strings.HasPrefix(r.Authorization, "Basic ") })
	if saw == neg {
		ts.Fatalf("%s saw a login: %v", args[0], saw)
	}
}

// unasked VARIABLE holds that the registry got no request since the last image.
func unasked(ts *testscript.TestScript, neg bool, args []string) {
	if requests := ts.Value(registriesKey{}).(registries)[args[0]].Requests(); len(requests) > 0 {
		ts.Fatalf("%s was asked: %+v", args[0], requests)
	}
}

// asked VARIABLE METHOD PART N holds that the registry got so many requests of the method with part in their path since the
// last image.
func asked(ts *testscript.TestScript, neg bool, args []string) {
	if got := ts.Value(registriesKey{}).(registries)[args[0]].Count(args[1], args[2]); strconv.Itoa(got) != args[3] {
		ts.Fatalf("%d requests %s %s", got, args[1], args[2])
	}
}
