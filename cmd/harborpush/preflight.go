package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
)

type checkStatus string

const (
	checkPassed  checkStatus = "passed"
	checkFailed  checkStatus = "failed"
	checkSkipped checkStatus = "skipped"
)

// check is one thing that a push depends on. A skipped one says why in Detail.
type check struct {
	Name   string      `json:"name"`
	Status checkStatus `json:"status"`
	Detail string      `json:"detail"`
	Remedy string      `json:"remedy"`
}

// preflight is what a push to ref depends on, in the order in which the push would find out. Every request in it reads.
type preflight struct {
	ref    imageref.Ref
	client *registry.Client

	checks []check
	passed map[string]bool

	route    registry.Route
	greeting registry.Greeting
	user     string
	found    string // digest of the image that ref names now, "" for none
	pull     error  // why that is not known
}

// untold ends a check whose result cannot be known.
type untold string

func (u untold) Error() string { return string(u) }

func (p *preflight) run(ctx context.Context) {
	p.check("name", "", func() (string, error) { return p.name(ctx) })
	p.check("connection", "name", func() (string, error) { return p.connection(ctx) })
	p.check("tls", "connection", func() (string, error) { return p.tls(ctx) })
	p.check("clock", "tls", p.clock)
	p.check("login", "tls", func() (string, error) { return p.login(ctx) })
	p.check("project", "login", func() (string, error) { return p.project(ctx) })
	p.check("pull", "project", p.mayPull)
	p.check("push", "project", func() (string, error) { return p.push(ctx) })
	p.check("quota", "project", func() (string, error) { return p.quota(ctx) })
	p.check("immutability", "project", func() (string, error) { return p.immutability(ctx) })
}

// check notes what came of one check, which needs another to have passed. One that was skipped is no obstacle.
func (p *preflight) check(name, needs string, do func() (string, error)) {
	k := check{Name: name, Status: checkPassed}
	if needs != "" && !p.passed[needs] {
		k.Status, k.Detail = checkSkipped, "not possible without: "+needs
		p.checks = append(p.checks, k)
		return
	}
	detail, err := do()
	var unknown untold
	switch {
	case err == nil:
		k.Detail = detail
	case errors.As(err, &unknown):
		k.Status, k.Detail = checkSkipped, unknown.Error()
	default:
		k.Status, k.Detail, k.Remedy = checkFailed, err.Error(), fault.HintOf(err)
	}
	p.passed[name] = k.Status != checkFailed
	p.checks = append(p.checks, k)
}

func (p *preflight) name(ctx context.Context) (detail string, err error) {
	p.route, err = p.client.Route(ctx, p.ref.Host())
	switch {
	case err != nil:
		return "", err
	case p.route.Proxy != "":
		return p.ref.Host() + ", looked up by the proxy " + p.route.Proxy, nil
	case p.route.Given:
		return p.ref.Host() + " is " + p.route.Addresses[0] + ", as --resolve says", nil
	}
	return p.ref.Host() + " is " + strings.Join(p.route.Addresses, ", "), nil
}

// connection passes when one address answers; those that do not are named.
func (p *preflight) connection(ctx context.Context) (string, error) {
	if p.route.Proxy != "" {
		return "", untold("the proxy " + p.route.Proxy + " connects")
	}
	var told []string
	var failed error
	answered := false
	for _, address := range p.route.Addresses {
		if err := p.client.Connect(ctx, p.ref.Host(), address); err != nil {
			failed = err
			told = append(told, address+" does not answer")
			continue
		}
		answered = true
		told = append(told, address+" answers")
	}
	if !answered {
		return "", failed
	}
	return strings.Join(told, ", "), nil
}

// soon is how long before its end a certificate is worth a word.
const soon = 14 * 24 * time.Hour

func (p *preflight) tls(ctx context.Context) (detail string, err error) {
	p.greeting, err = p.client.Greet(ctx, p.ref.Host())
	switch certificate := p.greeting.Certificate; {
	case err != nil:
		return "", err
	case certificate == nil:
		return "none: the password travels unencrypted", nil
	default:
		detail = fmt.Sprintf("issued by %s, valid until %s", certificate.Issuer, certificate.NotAfter.UTC().Format(time.DateOnly))
		if left := time.Until(certificate.NotAfter); left < soon {
			detail += fmt.Sprintf(", which is in %d days", int(left.Hours()/24))
		}
		return detail, nil
	}
}

// skew is how much clocks may disagree, one way or the other, before tokens and signatures fail.
const skew = time.Minute

func (p *preflight) clock() (string, error) {
	if !p.greeting.Dated {
		return "", untold("the registry does not tell the time")
	}
	if ahead := p.greeting.Ahead.Round(time.Second); ahead.Abs() > skew {
		return "", &fault.Error{Err: fmt.Errorf("the registry's clock is %v ahead of ours", ahead), Hint: "set the clock that is wrong: tokens and certificates depend on it"}
	}
	return "the registry's agrees with ours", nil
}

func (p *preflight) login(ctx context.Context) (detail string, err error) {
	if p.greeting.Anonymous {
		return "none is wanted", nil
	}
	if p.user, err = p.client.Login(ctx, p.ref.Host()); err != nil {
		return "", err
	}
	return "as " + p.user, nil
}

// project asks for the image too: the refusals of a missing project and of a missing right differ in that answer only.
func (p *preflight) project(ctx context.Context) (string, error) {
	p.found, p.pull = p.client.Digest(ctx, p.ref)
	var missing *registry.MissingProject
	switch {
	case !p.greeting.Harbor:
		return "", untold("only Harbor has projects")
	case errors.As(p.pull, &missing):
		return "", p.pull
	}
	return p.owner(), nil
}

// owner is the project that the repository is in.
func (p *preflight) owner() string {
	project, _, _ := strings.Cut(p.ref.Repository, "/")
	return project
}

func (p *preflight) mayPull() (string, error) {
	switch {
	case errors.Is(p.pull, registry.ErrNotFound):
		return "nothing has that name yet", nil
	case p.pull != nil:
		return "", p.pull
	}
	return p.ref.Tag + " is " + p.found, nil
}

func (p *preflight) push(ctx context.Context) (string, error) {
	actions, known, err := p.client.Allowed(ctx, p.ref)
	switch {
	case err != nil:
		return "", err
	case !known:
		return "", untold("the registry does not tell; a push will")
	case !slices.Contains(actions, "push"):
		return "", &fault.Error{Err: fmt.Errorf("%s may not push there", p.user), Hint: "give the account push and pull rights on project " + p.owner() + " in Harbor"}
	}
	if p.greeting.Harbor {
		if system, err := p.harbor().System(ctx); err == nil && system.ReadOnly {
			return "", &fault.Error{Err: registry.ErrReadOnly, Hint: registry.HintReadOnly}
		}
	}
	return p.user + " may push there", nil
}

func (p *preflight) harbor() *harbor.Client { return harbor.New(p.client, p.ref.Host()) }

func (p *preflight) quota(ctx context.Context) (string, error) {
	if !p.greeting.Harbor {
		return "", untold("only Harbor has quotas")
	}
	q, err := p.harbor().Quota(ctx, p.owner())
	switch {
	case fault.KindOf(err) == fault.Denied:
		return "", untold("the account may not see it (right to read the project)")
	case err != nil:
		return "", err
	case q.Limit < 0:
		return fmt.Sprintf("%s used, no limit", size(q.Used)), nil
	case q.Used >= q.Limit:
		return "", &fault.Error{Err: fmt.Errorf("%s of %s used", size(q.Used), size(q.Limit)), Hint: "delete images and run garbage collection, or raise the quota"}
	}
	return fmt.Sprintf("%s of %s used", size(q.Used), size(q.Limit)), nil
}

func (p *preflight) immutability(ctx context.Context) (string, error) {
	switch {
	case !p.greeting.Harbor:
		return "", untold("only Harbor has immutable tags")
	case p.found == "" && errors.Is(p.pull, registry.ErrNotFound):
		return p.ref.Tag + " is a new tag", nil
	}
	repository := p.ref.Repository
	artifact, err := p.harbor().Artifact(ctx, repository, p.ref.Tag)
	switch {
	case fault.KindOf(err) == fault.Denied:
		return "", untold("the account may not see it (right to read artifacts and list tags)")
	case err != nil:
		return "", err
	}
	for _, tag := range artifact.Tags {
		if tag.Name == p.ref.Tag && tag.Immutable {
			return "", &fault.Error{Err: fmt.Errorf("%s is immutable and names %s", tag.Name, artifact.Digest),
				Hint: "push under a new tag, or change the project's tag immutability rule in Harbor; the same image again is no problem"}
		}
	}
	return p.ref.Tag + " may be given to another image", nil
}
