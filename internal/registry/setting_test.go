package registry_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestSetting has a registry under another name, with a login, a namespace and a certificate of its own.
func TestSetting(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := harbor(t, registrytest.Config{TLS: true})
	ref := imageref.Ref{Registry: "registry.example.com", Repository: "app", Tag: "1"}
	ask := func(set registry.Setting) error {
		set.Host, set.Address, set.Namespace = "registry.example.com", s.Host, "sandbox"
		c := registry.New(registry.Options{Settings: []registry.Setting{{Host: "other.example.com"}, set}})
		c.Pauses()
		_, err := c.Digest(t.Context(), c.Whole(ref))
		return err
	}
	asked := 0
	login := func(context.Context) (string, string, error) { asked++; return robot, secret, nil }
	if err := ask(registry.Setting{Login: login, Unchecked: true}); !errors.Is(err, registry.ErrNotFound) || asked != 1 {
		t.Errorf("error %v, asked %d times", err, asked)
	}
	if err := ask(registry.Setting{Login: login}); err == nil || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("error %v", err)
	}
	if err := ask(registry.Setting{Unchecked: true}); fault.KindOf(err) != fault.Denied {
		t.Errorf("error %v", err)
	}
	broken := func(context.Context) (string, string, error) { return "", "", errors.New("the vault is sealed") }
	if err := ask(registry.Setting{Login: broken, Unchecked: true}); fault.KindOf(err) != fault.Denied || err.Error() != "find the login for registry.example.com: the vault is sealed" {
		t.Errorf("error %v", err)
	}
}

// TestSlowLogin has somebody look for the login of one registry, while another is asked.
func TestSlowLogin(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	slow, other := registrytest.Start(t, registrytest.Config{}), registrytest.Start(t, registrytest.Config{})
	began, end := make(chan bool), make(chan bool)
	login := func(context.Context) (string, string, error) {
		close(began)
		<-end
		return "", "", nil
	}
	c := registry.New(registry.Options{Settings: []registry.Setting{{Host: slow.Host, Login: login}}})
	done := make(chan error)
	go func() {
		_, err := c.Greet(t.Context(), slow.Host)
		done <- err
	}()
	<-began
	if _, err := c.Greet(t.Context(), other.Host); err != nil {
		t.Error(err)
	}
	close(end)
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// TestLimit has a registry that gets four requests a second.
func TestLimit(t *testing.T) {
	t.Setenv("DOCKER_CONFIG", t.TempDir())
	s := registrytest.Start(t, registrytest.Config{})
	c := registry.New(registry.Options{Settings: []registry.Setting{{Host: s.Host, Limit: 4}}})
	now := time.Unix(1700000000, 0)
	c.SetNow(func() time.Time { return now })
	pauses := c.Pauses()
	for range 3 {
		c.Tags(t.Context(), imageref.Ref{Registry: s.Host, Repository: "team/app"})
	}
	if len(*pauses) != 4 || (*pauses)[0] != 250*time.Millisecond || (*pauses)[3] != time.Second { // with two greetings, one of which is in TLS
		t.Errorf("%v", *pauses)
	}
	now = now.Add(time.Hour)
	c.Tags(t.Context(), imageref.Ref{Registry: s.Host, Repository: "team/app"})
	if len(*pauses) != 4 {
		t.Errorf("%v", *pauses)
	}
}
