package aiu

import (
	"bytes"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/config/resource"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

// Updater is an ImageUpdater resource.
type Updater struct {
	resource.Metadata
	settings settings
	writing  writing
	cosign   bool
	refs     []applicationRef
}

// applicationRef is for the applications whose name has the pattern, and whose labels are selected.
type applicationRef struct {
	at             place
	pattern        string
	selector       *resource.Selector
	useAnnotations bool
	settings       settings
	writing        writing
	cosign         bool
	images         []image
}

// Declares reports whether data may declare ImageUpdater resources.
func Declares(data []byte) bool {
	return bytes.Contains(data, []byte(group+"/v1")) && bytes.Contains(data, []byte("ImageUpdater"))
}

// Parse is what the file declares, and what is wrong with it.
func Parse(file string, data []byte) (all []Updater, notices []config.Notice) {
	r := reader{resource.Reader{File: file}}
	r.Objects(data, func(m resource.Metadata, spec *yaml.Node) {
		if m.Kind == "ImageUpdater" && strings.HasPrefix(m.Version, group+"/") {
			all = append(all, r.updater(m, spec))
		}
	})
	return all, r.Notices
}

// reader reads the resources of one file.
type reader struct{ resource.Reader }

func (r *reader) updater(m resource.Metadata, spec *yaml.Node) Updater {
	u := Updater{Metadata: m}
	r.spec(spec, &u)
	return u
}

func (r *reader) spec(node *yaml.Node, u *Updater) {
	r.Mapping(node, "spec", resource.Keys{
		"namespace":            func(v *yaml.Node) { u.Namespace = v.Value }, // v1alpha1 had it here first
		"commonUpdateSettings": func(v *yaml.Node) { r.settings(v, &u.settings) },
		"writeBackConfig":      func(v *yaml.Node) { r.writing(v, &u.writing) },
		"imagesVerification":   func(v *yaml.Node) { u.cosign = r.enabled(v) },
		"applicationRefs": func(v *yaml.Node) {
			r.Each(v, "applicationRefs", func(v *yaml.Node) { u.refs = append(u.refs, r.ref(v)) })
		},
	})
}

func (r *reader) ref(node *yaml.Node) applicationRef {
	ref := applicationRef{at: r.At(node)}
	r.Mapping(node, "applicationRefs[]", resource.Keys{
		"namePattern": func(v *yaml.Node) {
			ref.pattern = v.Value
			if _, err := path.Match(v.Value, ""); err != nil {
				r.Notice(v, "namePattern %q is no pattern, and means no application", v.Value)
			}
		},
		"labelSelectors":       func(v *yaml.Node) { ref.selector = r.Selector(v, "labelSelectors") },
		"useAnnotations":       func(v *yaml.Node) { ref.useAnnotations = v.Value == "true" },
		"commonUpdateSettings": func(v *yaml.Node) { r.settings(v, &ref.settings) },
		"writeBackConfig":      func(v *yaml.Node) { r.writing(v, &ref.writing) },
		"imagesVerification":   func(v *yaml.Node) { ref.cosign = r.enabled(v) },
		"images": func(v *yaml.Node) {
			r.Each(v, "images", func(v *yaml.Node) { ref.images = append(ref.images, r.image(v)) })
		},
	})
	return ref
}

func (r *reader) image(node *yaml.Node) image {
	i := image{name: text{Place: r.At(node)}}
	targets := resource.Keys{
		"helm": func(v *yaml.Node) {
			r.Mapping(v, "helm", resource.Keys{"name": r.Text(&i.helmName), "tag": r.Text(&i.helmTag), "spec": r.Text(&i.helmSpec)})
		},
		"kustomize": func(v *yaml.Node) {
			r.Mapping(v, "kustomize", resource.Keys{"name": r.Text(&i.kustomize)})
		},
		"plugin": func(*yaml.Node) { i.plugin = true },
	}
	r.Mapping(node, "images[]", resource.Keys{
		"alias":                func(v *yaml.Node) { i.alias = v.Value },
		"imageName":            r.Text(&i.name),
		"commonUpdateSettings": func(v *yaml.Node) { r.settings(v, &i.choice) },
		"imagesVerification":   func(v *yaml.Node) { i.cosign = r.enabled(v) },
		"manifestTargets":      func(v *yaml.Node) { r.Mapping(v, "manifestTargets", targets) },
	})
	return i
}

func (r *reader) settings(node *yaml.Node, s *settings) {
	r.Mapping(node, "commonUpdateSettings", resource.Keys{
		"updateStrategy": r.Text(&s.strategy), "forceUpdate": r.Text(&s.force), "allowTags": r.Text(&s.allow),
		"pullSecret": r.Text(&s.pullSecret), "ignoreTags": r.Texts(&s.ignore), "platforms": r.Texts(&s.platforms),
	})
}

func (r *reader) writing(node *yaml.Node, w *writing) {
	r.Mapping(node, "writeBackConfig", resource.Keys{
		"method": r.Text(&w.method),
		"gitConfig": func(v *yaml.Node) {
			r.Mapping(v, "gitConfig", resource.Keys{
				"repository": r.Text(&w.repository), "branch": r.Text(&w.branch), "writeBackTarget": r.Text(&w.target),
				"pullRequest": func(v *yaml.Node) { r.Notice(v, "pullRequest is not followed: imgbump update --pr makes one") },
			})
		},
	})
}

// enabled reads imagesVerification.
func (r *reader) enabled(node *yaml.Node) bool {
	enabled := true
	r.Peek(node, resource.Keys{"enabled": func(v *yaml.Node) { enabled = v.Value != "false" }})
	return enabled
}

// refFor is the most specific reference that is for the application, nil without one.
func (u *Updater) refFor(app argocd.Application) *applicationRef {
	if u.Namespace != "" && app.Namespace != "" && u.Namespace != app.Namespace {
		return nil
	}
	var best *applicationRef
	for i := range u.refs {
		ref := &u.refs[i]
		if ref.matches(app) && (best == nil || ref.specificity() > best.specificity()) {
			best = ref
		}
	}
	return best
}

func (ref *applicationRef) matches(app argocd.Application) bool {
	if ok, err := path.Match(ref.pattern, app.Name); !ok || err != nil {
		return false
	}
	return ref.selector.Selects(func(key string) (string, bool) {
		i := slices.IndexFunc(app.Labels, func(a argocd.Annotation) bool { return a.Key == key })
		if i < 0 {
			return "", false
		}
		return app.Labels[i].Value, true
	})
}

// specificity is Image Updater's: a name goes before a pattern, and of two patterns the one that says more.
func (ref *applicationRef) specificity() int {
	n, literal := 0, ref.pattern
	if !strings.ContainsAny(literal, "*?[") {
		n += 1_000_000
	}
	for {
		before, rest, set := strings.Cut(literal, "[")
		_, after, closed := strings.Cut(rest, "]")
		if !set || !closed {
			break
		}
		literal = before + after
	}
	n += len(strings.NewReplacer("*", "", "?", "").Replace(literal))
	if ref.selector != nil {
		n += 10_000 + 100*(len(ref.selector.Labels)+len(ref.selector.Expressions))
	}
	return n
}
