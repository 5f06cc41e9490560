// Package webhook receives what registries tell when an image was pushed.
//
// The types, paths and places of secrets are those of Argo CD Image Updater, so that moving from it is changing a host name.
// What is told is never believed: an event says where to look, and the registry is asked what is there. So a delivery that
// comes twice, late or forged by somebody who has the secret costs a look, and nothing else.
package webhook

import (
	"log/slog"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Kind is who sends, and with that the shape of what is sent: the TYPE of /webhook?type=TYPE.
type Kind string

// The kinds that are understood, by Image Updater's names. CloudEvents are those of EventBridge (ECR), Event Grid (ACR), Harbor
// and whoever names image and registry; Distribution is the plain registry, and GitLab's, which is one.
const (
	Harbor       Kind = "harbor"
	DockerHub    Kind = "docker.io"
	GHCR         Kind = "ghcr.io"
	Quay         Kind = "quay.io"
	ACR          Kind = "acr"
	Aliyun       Kind = "aliyun-acr"
	CloudEvents  Kind = "cloudevents"
	Distribution Kind = "distribution"
	GitLab       Kind = "gitlab"
)

// Kinds are all of them, sorted.
func Kinds() []Kind { return slices.Sorted(maps.Keys(parsers)) }

// ParseKind is the kind of that name.
func ParseKind(name string) (Kind, error) {
	if _, known := parsers[Kind(name)]; !known {
		return "", fault.Usagef("the types are "+join(Kinds()), "%q is no type of webhook", name)
	}
	return Kind(name), nil
}

func join(kinds []Kind) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return strings.Join(names, ", ")
}

// Event is an image that was pushed: registry and repository, as manifests name them, and what is told of tag and digest. A part
// of an image for several platforms, and a signature, may have no tag. At is the registry's own time, zero when it tells none.
type Event struct {
	Image imageref.Ref
	At    time.Time
}

// The outcomes of a delivery, for metrics.
const (
	Accepted     = "accepted"     // an image is one that somebody waits for
	Unknown      = "unknown"      // none is
	Ignored      = "ignored"      // it tells of something else than a push
	Replayed     = "replayed"     // it came before, and was accepted
	Unauthorized = "unauthorized" // without the secret, or with a wrong one
	Malformed    = "malformed"    // it is not what its type sends, or broke off
	TooLarge     = "too large"
	Limited      = "limited"
)

// DefaultRate is how many deliveries of a kind are taken a second in the long run.
const DefaultRate = 200

// Options say what is received, and who hears of it.
type Options struct {
	Secrets map[Kind]Secret   // what the senders of a kind have to show; a kind without one is not served, unless it is in Open
	Open    []Kind            // kinds that are served without a secret
	Aliases map[string]string // the host that a registry calls itself, to the one in manifests
	Rate    int               // deliveries a second and kind, ten times as many at once; 0 is DefaultRate

	Notify  func(Event) (known bool)        // hears of each pushed image, and must not block
	Observe func(kind Kind, outcome string) // hears of each delivery to a kind that is served; may be nil
	Log     *slog.Logger                    // nil for none
}

// New is the receiver of the paths /webhook and /webhook/TYPE.
func New(o Options) (http.Handler, error) {
	if o.Rate < 0 {
		return nil, fault.Usagef("", "the rate of webhooks is negative")
	}
	if o.Observe == nil {
		o.Observe = func(Kind, string) {}
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	aliases, err := checkedAliases(o.Aliases)
	if err != nil {
		return nil, err
	}
	o.Aliases = aliases
	r := &receiver{Options: o, doors: map[Kind]*door{}}
	for kind, secret := range o.Secrets {
		if _, err := ParseKind(string(kind)); err != nil {
			return nil, err
		}
		if err := secret.check(kind); err != nil {
			return nil, err
		}
		r.doors[kind] = newDoor(kind, secret, o.Rate)
	}
	for _, kind := range o.Open {
		if _, err := ParseKind(string(kind)); err != nil {
			return nil, err
		}
		if _, both := o.Secrets[kind]; both {
			return nil, fault.Usagef("take one of them away", "webhooks of type %s have a secret, and are to be open", kind)
		}
		r.doors[kind] = newDoor(kind, "", o.Rate)
	}
	return r, nil
}

// checkedAliases are the aliases with hosts in lower case.
func checkedAliases(aliases map[string]string) (map[string]string, error) {
	checked := make(map[string]string, len(aliases))
	for from, to := range aliases {
		from, to = strings.ToLower(from), strings.ToLower(to)
		if _, err := reference(to, "x", "", ""); err != nil || from == "" || strings.Contains(from, "/") {
			return nil, fault.Usagef("both are the HOST or HOST:PORT of a registry", "%s=%s is no alias of a registry", from, to)
		}
		checked[from] = to
	}
	return checked, nil
}
