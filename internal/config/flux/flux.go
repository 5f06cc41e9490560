// Package flux reads the policies that are written for Flux' image automation: ImageRepository, ImagePolicy and
// ImageUpdateAutomation. They are for the values that a setter's comment marks, and for no others.
package flux

import (
	"bytes"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/config/resource"
)

// The groups of the resources.
const (
	imageGroup  = "image.toolkit.fluxcd.io/"
	sourceGroup = "source.toolkit.fluxcd.io/"
)

// Objects are what files declare.
type Objects struct {
	repositories map[string]repository // by NAMESPACE/NAME, as all of them
	policies     []imagePolicy
	automations  []automation
	sources      map[string]string // addresses of git repositories
}

type repository struct {
	resource.Metadata
	image, secret   resource.Text
	exclusions      []resource.Text
	suspended       bool
	insecure, cloud resource.Text
}

type imagePolicy struct {
	resource.Metadata
	repository       string // NAMESPACE/NAME
	strategy         string // the key below policy
	rule             resource.Text
	pattern, extract resource.Text
	digest           resource.Text
	suspended        bool
}

type automation struct {
	resource.Metadata
	source   string // NAMESPACE/NAME of a git repository
	selector *resource.Selector
	path     resource.Text
	strategy resource.Text
}

// Declares reports whether data may declare something to Flux' image automation.
func Declares(data []byte) bool {
	return bytes.Contains(data, []byte("toolkit.fluxcd.io/")) &&
		(bytes.Contains(data, []byte(imageGroup)) || bytes.Contains(data, []byte("GitRepository")))
}

// Add adds what a file declares, and tells what is wrong with it.
func (o *Objects) Add(file string, data []byte) []config.Notice {
	r := reader{resource.Reader{File: file}}
	r.Objects(data, func(m resource.Metadata, spec *yaml.Node) {
		switch {
		case strings.HasPrefix(m.Version, sourceGroup) && m.Kind == "GitRepository":
			var url resource.Text
			r.Peek(spec, resource.Keys{"url": r.Text(&url)})
			put(&o.sources, qualified(m.Namespace, m.Name), url.Value)
		case !strings.HasPrefix(m.Version, imageGroup):
		case m.Kind == "ImageRepository":
			put(&o.repositories, qualified(m.Namespace, m.Name), r.repository(m, spec))
		case m.Kind == "ImagePolicy":
			o.policies = append(o.policies, r.policy(m, spec))
		case m.Kind == "ImageUpdateAutomation":
			o.automations = append(o.automations, r.automation(m, spec))
		}
	})
	return r.Notices
}

// Any reports whether there are policies.
func (o *Objects) Any() bool { return len(o.policies) > 0 }

func put[T any](into *map[string]T, key string, value T) {
	if *into == nil {
		*into = map[string]T{}
	}
	(*into)[key] = value
}

// qualified is NAMESPACE/NAME; a manifest may leave the namespace to whoever applies it.
func qualified(namespace, name string) string { return namespace + "/" + name }

// reader reads the resources of one file.
type reader struct{ resource.Reader }

func (r *reader) repository(m resource.Metadata, spec *yaml.Node) repository {
	o := repository{Metadata: m}
	r.Mapping(spec, "spec", resource.Keys{
		"image": r.Text(&o.image), "exclusionList": r.Texts(&o.exclusions), "suspend": isTrue(&o.suspended),
		"secretRef": func(v *yaml.Node) { r.Peek(v, resource.Keys{"name": r.Text(&o.secret)}) },
		"insecure":  r.Text(&o.insecure), "provider": r.Text(&o.cloud),
		"interval": nil, "timeout": nil, "proxySecretRef": nil, "serviceAccountName": nil, "certSecretRef": nil, "accessFrom": nil,
	})
	return o
}

func (r *reader) policy(m resource.Metadata, spec *yaml.Node) imagePolicy {
	o := imagePolicy{Metadata: m}
	r.Mapping(spec, "spec", resource.Keys{
		"imageRepositoryRef": func(v *yaml.Node) { o.repository = r.reference(v, m.Namespace) },
		"policy": func(v *yaml.Node) {
			for strategy, key := range map[string]string{"semver": "range", "numerical": "order", "alphabetical": "order"} {
				r.Peek(v, resource.Keys{strategy: func(v *yaml.Node) {
					o.strategy, o.rule = strategy, resource.Text{Place: r.At(v)}
					r.Mapping(v, strategy, resource.Keys{key: r.Text(&o.rule)})
				}})
			}
		},
		"filterTags": func(v *yaml.Node) {
			r.Mapping(v, "filterTags", resource.Keys{"pattern": r.Text(&o.pattern), "extract": r.Text(&o.extract)})
		},
		"digestReflectionPolicy": r.Text(&o.digest), "suspend": isTrue(&o.suspended), "interval": nil,
	})
	return o
}

func (r *reader) automation(m resource.Metadata, spec *yaml.Node) automation {
	o := automation{Metadata: m}
	var branch, template resource.Text
	r.Mapping(spec, "spec", resource.Keys{
		"sourceRef":      func(v *yaml.Node) { o.source = r.reference(v, m.Namespace) },
		"policySelector": func(v *yaml.Node) { o.selector = r.Selector(v, "policySelector") },
		"update": func(v *yaml.Node) {
			r.Mapping(v, "update", resource.Keys{"path": r.Text(&o.path), "strategy": r.Text(&o.strategy)})
		},
		"git": func(v *yaml.Node) {
			r.Peek(v, resource.Keys{
				"push":   func(v *yaml.Node) { r.Peek(v, resource.Keys{"branch": r.Text(&branch), "refspec": r.Text(&branch)}) },
				"commit": func(v *yaml.Node) { r.Peek(v, resource.Keys{"messageTemplate": r.Text(&template)}) },
			})
		},
		"interval": nil, "suspend": nil,
	})
	say := func(t resource.Text, text string) {
		r.Notices = append(r.Notices, config.Notice{File: t.File, Line: t.Line, Text: text})
	}
	if branch.Given() {
		say(branch, "git.push is not followed: imgbump commits to the branch that it is told, and --pr makes one of its own")
	}
	if template.Given() {
		say(template, "messageTemplate is not used: --message says what commits are called")
	}
	if o.strategy.Given() && o.strategy.Value != setters {
		say(o.strategy, "this automation is not followed: Setters is the only strategy")
	}
	return o
}

// setters is the strategy of automations that change what comments mark.
const setters = "Setters"

// reference is NAMESPACE/NAME of what a resource refers to, which is in its own namespace unless it says another.
func (r *reader) reference(node *yaml.Node, namespace string) string {
	var name string
	r.Peek(node, resource.Keys{"name": func(v *yaml.Node) { name = v.Value }, "namespace": func(v *yaml.Node) { namespace = v.Value }})
	return qualified(namespace, name)
}

func isTrue(into *bool) func(*yaml.Node) {
	return func(v *yaml.Node) { *into = v.Value == "true" }
}
