package aiu

import (
	"maps"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

func annotated(app argocd.Application) bool {
	return slices.ContainsFunc(app.Annotations, func(a argocd.Annotation) bool { return strings.HasPrefix(a.Key, prefix) })
}

// annotations is what the application's annotations ask for; ok is false when they ask for nothing.
func (b *builder) annotations(app argocd.Application) (r request, ok bool) {
	given := map[string]text{}
	for _, a := range app.Annotations {
		if key, ours := strings.CutPrefix(a.Key, prefix); ours {
			given[key] = text{Value: a.Value, Place: place{File: app.File, Line: a.Line}}
		}
	}
	if len(given) == 0 {
		return r, false
	}
	take := func(key string) text {
		t := given[key]
		delete(given, key)
		return t
	}
	list := take("image-list")
	r = request{app: app, at: list.Place, writing: writing{
		method: take("write-back-method"), target: take("write-back-target"), branch: take("git-branch"), repository: take("git-repository"),
	}}
	if strings.TrimSpace(list.Value) == "" {
		b.notice(place{File: app.File, Line: app.Line}, "application %s has annotations for Image Updater, but no %simage-list: none of its images is updated", app.Name, prefix)
		return r, false
	}
	general := choice("", take)
	for name := range strings.SplitSeq(list.Value, ",") {
		if name = strings.TrimSpace(name); name != "" {
			r.images = append(r.images, image{name: text{Value: name, Place: list.Place}})
		}
	}
	for n := range r.images {
		r.images[n].annotated(given, general)
	}
	b.unknown(given, r.images)
	return r, true
}

// choice are the settings that annotations with such a prefix say.
func choice(alias string, take func(key string) text) settings {
	return settings{
		strategy: take(alias + "update-strategy"), allow: take(alias + "allow-tags"), pullSecret: take(alias + "pull-secret"),
		force: take(alias + "force-update"), ignore: listed(take(alias + "ignore-tags")), platforms: listed(take(alias + "platforms")),
	}
}

// annotated takes what annotations say of the image by its alias; the general ones count where they do not.
func (i *image) annotated(given map[string]text, general settings) {
	i.choice = general
	alias, rest, aliased := strings.Cut(i.name.Value, "=")
	if !aliased {
		return
	}
	i.alias, i.name.Value = strings.TrimSpace(alias), strings.TrimSpace(rest)
	key := strings.ReplaceAll(i.alias, "/", "_") + "."
	take := func(k string) text { return given[k] } // two images may share an alias
	i.choice = choice(key, take).over(general)
	i.helmName, i.helmTag, i.helmSpec = take(key+"helm.image-name"), take(key+"helm.image-tag"), take(key+"helm.image-spec")
	i.kustomize = take(key + "kustomize.image-name")
}

// imageKeys are what annotations may say of one image.
var imageKeys = []string{
	"update-strategy", "allow-tags", "ignore-tags", "pull-secret", "force-update", "platforms",
	"helm.image-name", "helm.image-tag", "helm.image-spec", "kustomize.image-name",
}

// unknown tells which annotations mean nothing.
func (b *builder) unknown(given map[string]text, images []image) {
	aliases := map[string]bool{}
	for _, i := range images {
		aliases[strings.ReplaceAll(i.alias, "/", "_")] = i.alias != ""
	}
	for _, key := range slices.Sorted(maps.Keys(given)) {
		reason := "means nothing"
		for _, k := range imageKeys {
			alias, his := strings.CutSuffix(key, "."+k)
			if his && aliases[alias] {
				reason = ""
				break
			} else if his {
				reason = "is for " + alias + ", which image-list does not name as an alias"
			}
		}
		if reason != "" {
			b.notice(given[key].Place, "the annotation %s %s", prefix+key, reason)
		}
	}
}

// listed are the parts of a list with commas, nil when nothing is written.
func listed(t text) []text {
	if !t.Given() {
		return nil
	}
	all := []text{}
	for one := range strings.SplitSeq(t.Value, ",") {
		if one = strings.TrimSpace(one); one != "" {
			all = append(all, text{Value: one, Place: t.Place})
		}
	}
	return all
}
