package registry_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// repositoriesOf are n of the project's.
func repositoriesOf(s *registrytest.Server, project string, n int) (refs []imageref.Ref) {
	for i := range n {
		refs = append(refs, imageref.Ref{Registry: s.Host, Repository: fmt.Sprintf("%s/app%d", project, i)})
	}
	return refs
}

// TestAnticipate has tokens for many repositories: what one says it is not for, and one that says nothing, is asked for
// alone.
func TestAnticipate(t *testing.T) {
	silent := false
	s := harbor(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		switch {
		case strings.HasSuffix(r.URL.Path, "/tags/list") && r.Header.Get("Authorization") != "":
			json.NewEncoder(w).Encode(map[string]any{"tags": []string{"1"}})
			return true
		case silent && r.URL.Path == "/service/token":
			fmt.Fprint(w, `{"token":"opaque"}`)
			return true
		}
		return false
	}})
	for name, tt := range map[string]struct {
		silent  bool
		project string
		n       int
		tokens  int // for so many repositories
	}{
		"one is left to its request": {n: 1, project: "sandbox", tokens: 1},
		"a score at once":            {n: 20, project: "sandbox", tokens: 1},
		"more than that":             {n: 45, project: "sandbox", tokens: 3},
		"not granted":                {n: 3, project: "other", tokens: 1 + 3},
		"nothing said":               {n: 3, project: "sandbox", silent: true, tokens: 1 + 3},
	} {
		t.Run(name, func(t *testing.T) {
			silent = tt.silent
			c, refs := client(s), repositoriesOf(s, tt.project, tt.n)
			if err := c.Anticipate(t.Context(), append(refs, refs...)); err != nil {
				t.Fatal(err)
			}
			s.Forget()
			for _, ref := range refs {
				c.Tags(t.Context(), ref)
			}
			own := s.Count("GET", "/service/token")
			c = client(s)
			s.Forget()
			if err := c.Anticipate(t.Context(), refs); err != nil {
				t.Fatal(err)
			}
			if got := own + s.Count("GET", "/service/token") - 1; got != tt.tokens { // but for the question whether the login is right
				t.Errorf("%d tokens, want %d", got, tt.tokens)
			}
		})
	}
}

// TestAnticipateRefused has a login that is wrong: every question would meet that.
func TestAnticipateRefused(t *testing.T) {
	s := harbor(t, registrytest.Config{})
	if err := registry.New(registry.Options{}).Anticipate(t.Context(), repositoriesOf(s, "sandbox", 2)); err != nil {
		t.Errorf("error %v", err) // what is public can be read
	}
	s.Close()
	if err := client(s).Anticipate(t.Context(), repositoriesOf(s, "sandbox", 2)); err == nil {
		t.Error("no error")
	}
}
