package bump

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Masterminds/semver/v3"
	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Ages tells when images were made. It asks the registry once for each, however often a job is decided.
type Ages struct {
	registry Registry
	mu       sync.Mutex
	known    map[imageref.Ref]age
	down     map[string]error // by host: why it is not asked again
}

// age is when an image was made, the zero time when that is not known, perhaps because of err.
type age struct {
	created time.Time
	err     error
}

// NewAges knows nothing before it is asked.
func NewAges(registry Registry) *Ages {
	return &Ages{registry: registry, known: map[imageref.Ref]age{}, down: map[string]error{}}
}

// learn asks for those of refs that are not known. Registries that do not answer are no error.
func (a *Ages) learn(ctx context.Context, refs []imageref.Ref) error {
	hosts := map[string][]imageref.Ref{}
	for _, ref := range refs {
		if _, known := a.known[ref]; !known {
			a.known[ref] = age{}
			hosts[ref.Host()] = append(hosts[ref.Host()], ref)
		}
	}
	var questions sync.WaitGroup
	for host, refs := range hosts {
		questions.Go(func() { a.askHost(ctx, host, refs) })
	}
	questions.Wait()
	return ctx.Err()
}

// askHost asks one first: a host that is down is waited for once.
func (a *Ages) askHost(ctx context.Context, host string, refs []imageref.Ref) {
	a.ask(ctx, host, refs[0])
	var questions errgroup.Group
	questions.SetLimit(atOnce)
	for _, ref := range refs[1:] {
		questions.Go(func() error {
			a.ask(ctx, host, ref)
			return nil
		})
	}
	questions.Wait()
}

func (a *Ages) ask(ctx context.Context, host string, ref imageref.Ref) {
	a.mu.Lock()
	err := a.down[host]
	a.mu.Unlock()
	var created time.Time
	if err == nil {
		created, err = a.registry.Created(ctx, ref)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known[ref] = age{created, err}
	if err != nil && fault.KindOf(err) != fault.Denied {
		a.down[host] = err
	}
}

// learn asks for the ages that matter to the sites of the tree, and warns of registries that did not tell them.
func (d *decision) learn(ctx context.Context, t *tree) error {
	if d.ages == nil {
		return nil
	}
	var refs []imageref.Ref
	for _, f := range t.found {
		for _, site := range f.sites {
			if i, ok := d.asked.find(site); ok {
				if c, sensible := compare(site.Ref, d.images[i].Ref); sensible {
					refs = append(refs, c.from, c.to)
				}
			}
		}
	}
	if err := d.ages.learn(ctx, refs); err != nil {
		return err
	}
	warned := map[string]bool{}
	for _, ref := range refs {
		if err := d.ages.known[ref].err; err != nil && !warned[ref.Host()] {
			warned[ref.Host()] = true
			d.warn("", 0, "the age of images is not known, their tags are compared instead: %v", strings.TrimSuffix(err.Error()+"; "+fault.HintOf(err), "; "))
		}
	}
	return nil
}

// rollsBack says why image must not replace what the site names, "" when it may. That nobody knows is warned of, once for
// each pair of images.
func (d *decision) rollsBack(site manifest.Site, image Image) string {
	c, sensible := compare(site.Ref, image.Ref)
	if d.ages == nil || !sensible {
		return ""
	}
	how, known := d.ages.newer(c)
	if how != "" {
		return fmt.Sprintf("newer image already there: %s, %s", VersionOf(c.from), how)
	}
	if !known && !d.doubts[c] {
		d.doubts[c] = true
		d.warn(site.File, site.Line, "%s is replaced by %s, although it may be newer: neither dates nor tags tell", c.from, VersionOf(c.to))
	}
	return ""
}

func (d *decision) warn(file string, line int, format string, args ...any) {
	d.plan.Warnings = append(d.plan.Warnings, Warning{File: file, Line: line, Text: fmt.Sprintf(format, args...)})
}

// compared is an image that a site names and the one that it would get.
type compared struct{ from, to imageref.Ref }

// compare pairs what a site names with ours; sensible is false where ages do not matter: it is another repository, has no
// version, or does not change.
func compare(there, ours imageref.Ref) (c compared, sensible bool) {
	c = compared{there, there.With(ours)}
	return c, there.Same(ours) && there.Versioned() && c.from != c.to
}

// newer says in which way from is newer than to, "" when it is not. Their dates tell it, else their tags, where both are
// semantic versions; known is false when neither does.
func (a *Ages) newer(c compared) (how string, known bool) {
	from, to := a.known[c.from].created, a.known[c.to].created
	dated := !from.IsZero() && !to.IsZero()
	switch {
	case dated && from.After(to):
		return fmt.Sprintf("made %s, ours %s", from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339)), true
	case dated && from.Before(to):
		return "", true
	}
	old, ours := semantic(c.from.Tag), semantic(c.to.Tag)
	switch {
	case old == nil || ours == nil:
		return "", dated
	case old.GreaterThan(ours):
		return fmt.Sprintf("a later version than %s", c.to.Tag), true
	}
	return "", true
}

// semantic is the semantic version that tag is, nil when it is none. A number alone may be anything: a date, a commit.
func semantic(tag string) *semver.Version {
	v, err := semver.NewVersion(tag)
	if err != nil || !strings.Contains(tag, ".") {
		return nil
	}
	return v
}
