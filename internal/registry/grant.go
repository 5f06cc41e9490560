package registry

import (
	"context"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/google/go-containerregistry/pkg/v1/remote/transport"

	"github.com/ksera524/imgbump/internal/imageref"
)

// How many repositories a token is asked for at once, and in how many bytes: they stand in the address of the request, and
// in a header of every one that the token is for.
const (
	scopesAtOnce = 20
	scopesLength = 2 << 10
	grantsAtOnce = 4
)

// Anticipate asks for the right to read the repositories, which are those of one registry, many at once. What is not
// granted in that way is asked for when it is needed. An error is one that each of them would meet.
func (c *Client) Anticipate(ctx context.Context, refs []imageref.Ref) error {
	s, err := c.session(ctx, refs[0].Host())
	if err != nil || !strings.EqualFold(s.challenge.Scheme, "bearer") {
		return err
	}
	var group errgroup.Group
	group.SetLimit(grantsAtOnce)
	for _, scopes := range bundles(refs) {
		group.Go(func() error {
			s.anticipate(ctx, scopes)
			return nil
		})
	}
	group.Wait()
	return ctx.Err()
}

// bundles are the scopes for reading the repositories, as many together as a token is asked for. One alone is left to the
// request that needs it.
func bundles(refs []imageref.Ref) (all [][]string) {
	var names []string
	for _, ref := range refs {
		names = append(names, pulling(pathOf(ref)))
	}
	slices.Sort(names)
	var bundle []string
	length := 0
	for _, scope := range append(slices.Compact(names), "") {
		if full := len(bundle) == scopesAtOnce || length+len(scope) > scopesLength; len(bundle) > 0 && (full || scope == "") {
			if len(bundle) > 1 {
				all = append(all, bundle)
			}
			bundle, length = nil, 0
		}
		bundle, length = append(bundle, scope), length+len(scope)
	}
	return all
}

// pathOf is the repository of ref as its registry calls it: library/nginx.
func pathOf(ref imageref.Ref) string {
	_, repository, _ := strings.Cut(ref.Canonical(), "/")
	return repository
}

// pulling is the scope for reading a repository, and pushing that for writing it too.
func pulling(repository string) string { return "repository:" + repository + ":pull" }
func pushing(repository string) string { return pulling(repository) + ",push" }

// anticipate asks for a token for all of the scopes, and keeps it for those that it says it is for.
func (s *session) anticipate(ctx context.Context, scopes []string) {
	asked := s.client.now()
	answer, err := s.exchange(ctx, scopes)
	if err != nil {
		return
	}
	t := tokenOf(answer, asked)
	for _, scope := range scopes {
		repository := strings.TrimSuffix(strings.TrimPrefix(scope, "repository:"), ":pull")
		if actions, known := claimed(t.value, repository); known && slices.Contains(actions, "pull") {
			s.slot(scope).set(t)
		}
	}
}

// tokenOf is the token of an answer to a question of that time.
func tokenOf(answer *transport.Token, asked time.Time) token {
	life := time.Duration(answer.ExpiresIn) * time.Second
	if life <= 0 {
		life = defaultLife
	}
	t := token{value: answer.Token, until: asked.Add(life * 3 / 4)}
	if answer.AccessToken != "" {
		t.value = answer.AccessToken
	}
	return t
}
