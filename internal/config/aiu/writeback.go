package aiu

import (
	"cmp"
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// What Argo CD makes manifests with.
const (
	helm      = "helm"
	kustomize = "kustomize"
)

// The keys of Helm values where none are named.
const (
	defaultName = "image.name"
	defaultTag  = "image.tag"
)

// writeBack says where the policy is written. What it returns is why it cannot be.
func (b *builder) writeBack(f *config.Found, r request, i image) (unsupported string) {
	if original := i.kustomize.Value; original != "" {
		ref, err := imageref.Parse(original)
		if err != nil {
			return "kustomize.image-name: " + err.Error()
		}
		if ref = ref.Bare(); !ref.Same(f.Image) {
			f.Scope.Names = ref
		}
	}
	method, _, _ := strings.Cut(strings.TrimSpace(r.method.Value), ":")
	switch method {
	case "", "argocd":
		at := r.at
		if r.method.Given() {
			at = r.method.Place
		}
		b.once(f, at, "write-back-method argocd changes the Application in the cluster; imgbump changes what Git says, so stop Image Updater first")
		return ""
	case "git":
	default:
		return "there is no write-back-method " + r.method.Value
	}
	target := strings.TrimSpace(r.target.Value)
	source, made := b.source(r.app, target)
	if source == nil {
		return "application " + r.app.Name + " has no source that is written to"
	}
	if reason := b.branch(f, r, *source); reason != "" {
		return reason
	}
	if made != helm && made != kustomize {
		b.once(f, r.at, "application %s is made of plain manifests, which Image Updater does not write: imgbump changes them where they name the image", r.app.Name)
		return ""
	}
	if repository := strings.TrimSpace(r.repository.Value); repository != "" && !b.index.Place().Has(repository) {
		return "it is written to another repository, " + repository + ": run imgbump there"
	} else if repository == "" && !b.index.Place().Has(source.Repository) {
		return "its source is another repository, " + source.Repository + b.elsewhere(r.app)
	}
	force, _ := strconv.ParseBool(i.choice.force.Value)
	f.WriteBack = &config.WriteBack{Always: force}
	if reason := b.target(f, r.app, source.Path, target, made); reason != "" {
		f.WriteBack = nil
		return reason
	}
	return i.keys(f)
}

// branch compares the branch that is written to, and from which a template makes another, with that of the tree. What it
// returns is that they differ.
func (b *builder) branch(f *config.Found, r request, s argocd.Source) (unsupported string) {
	base, head, made := strings.Cut(strings.TrimSpace(r.branch.Value), ":")
	at := r.branch.Place
	if base = strings.TrimSpace(base); base == "" && s.Chart == "" {
		base, at = s.Revision, place{File: r.app.File, Line: r.app.Line}
	}
	base = strings.TrimPrefix(base, "refs/heads/")
	if here := b.index.Place().Branch; here != "" && base != "" && base != "HEAD" && base != here {
		return fmt.Sprintf("it is for branch %s (%s:%d), and this is %s: run it with --branch %s", base, at.File, at.Line, here, base)
	}
	if made {
		b.once(f, r.branch.Place, "git-branch: %s is not made: commits go to the branch itself, and with --pr to one of its own", head)
	}
	return ""
}

// source is the one of the application's that the target is about, and what is made of it: that which the target's form says,
// else the first that Helm or kustomize make.
func (b *builder) source(app argocd.Application, target string) (source *argocd.Source, made string) {
	wanted := ""
	switch kind, _, _ := strings.Cut(target, ":"); {
	case kind == "kustomization":
		wanted = kustomize
	case kind == "helmvalues":
		wanted = helm
	}
	for i := range app.Sources {
		s := &app.Sources[i]
		if s.Path == "" && s.Chart == "" {
			continue // it is only referred to
		}
		renderer := b.index.Renderer(*s)
		if renderer == wanted || wanted == "" && (renderer == helm || renderer == kustomize) {
			return s, renderer
		}
		if source == nil {
			source, made = s, renderer
		}
	}
	if wanted != "" { // said is what counts; a source that is not here cannot be looked at
		made = wanted
	}
	return source, made
}

// elsewhere is what to do about an application whose source is not here. Values that are here may be what is to be written.
func (b *builder) elsewhere(app argocd.Application) string {
	for _, s := range app.Sources {
		if s.Ref != "" && b.index.Place().Has(s.Repository) {
			return "; that its values are written here, say with git-repository: " + s.Repository
		}
	}
	return ": run imgbump there"
}

// target is the file that is written, and its form. Base is the path of the source, in its repository.
func (b *builder) target(f *config.Found, app argocd.Application, base, target, made string) (unsupported string) {
	kind, rest, _ := strings.Cut(target, ":")
	w := f.WriteBack
	switch kind {
	case "kustomization":
		w.Kind = config.ToKustomization
		dir, ok := b.file(base, rest, ".")
		if !ok {
			return "write-back-target " + target + " lies outside of these files"
		}
		for _, file := range manifest.KustomizationsIn(dir) {
			if b.tree.Has(file) {
				w.File = file
				return ""
			}
		}
		return "write-back-target " + target + ": there is no kustomization in " + dir
	case "helmvalues":
		w.Kind, rest = config.ToHelmValues, cmp.Or(rest, "values.yaml")
	default:
		w.Kind, rest = config.ToOverride, cmp.Or(target, b.override(app, base))
		if strings.HasPrefix(strings.ToLower(path.Base(rest)), "kustomization") {
			return "write-back-target " + target + " is a kustomization: write kustomization:FOLDER"
		}
	}
	var ok bool
	if w.File, ok = b.file(base, rest, "values.yaml"); !ok {
		return "write-back-target " + cmp.Or(target, rest) + " lies outside of these files"
	}
	if ext := path.Ext(w.File); ext != ".yaml" && ext != ".yml" {
		return "write-back-target " + cmp.Or(target, rest) + " is no YAML file"
	}
	if made == kustomize && w.Kind == config.ToOverride {
		w.Kustomization = f.Image.Name()
	}
	return ""
}

// override is the name of the file that overrides the application. Those in a namespace of their own have it in the name.
func (b *builder) override(app argocd.Application, base string) string {
	plain, qualified := ".argocd-source-"+app.Name+".yaml", ".argocd-source-"+app.Namespace+"_"+app.Name+".yaml"
	has := func(name string) bool {
		file, ok := b.file(base, name, name)
		return ok && b.tree.Has(file)
	}
	if app.Namespace == "" || app.Namespace == controllerNamespace && !has(qualified) || has(plain) && !has(qualified) {
		return plain
	}
	return qualified
}

// controllerNamespace is where Argo CD is, unless it was installed in another way.
const controllerNamespace = "argocd"

// file is a path of a target: relative to the source's, or with a slash before it to the repository's top.
func (b *builder) file(base, rest, otherwise string) (p string, ok bool) {
	full := Resolve(base, cmp.Or(rest, otherwise))
	if !fs.ValidPath(full) || slices.Contains(strings.Split(full, "/"), ".git") {
		return "", false
	}
	return b.index.Place().InTree(full)
}

// Resolve is the path in a repository that a target means for a source at base.
func Resolve(base, target string) string {
	if rest, absolute := strings.CutPrefix(target, "/"); absolute {
		return path.Clean(rest)
	}
	return path.Join(base, target)
}

// keys say how the file names the image. What it returns is why it cannot.
func (i image) keys(f *config.Found) (unsupported string) {
	w := f.WriteBack
	if w.Kind == config.ToKustomization || w.Kustomization != "" {
		w.Kustomization = f.Image.Name()
		if f.Scope.Names.Repository != "" {
			w.Kustomization = f.Scope.Names.Name()
		}
		return ""
	}
	if w.Spec = i.helmSpec.Value; w.Spec == "" {
		w.Name, w.Tag = cmp.Or(i.helmName.Value, defaultName), cmp.Or(i.helmTag.Value, defaultTag)
	}
	for _, key := range []string{w.Name, w.Tag, w.Spec} {
		if key != "" && !keyForm.MatchString(key) {
			f.WriteBack = nil
			return fmt.Sprintf("the key %q is none of Helm values", key)
		}
	}
	return ""
}

// keyForm are the keys that are written as they are.
var keyForm = regexp.MustCompile(`^[A-Za-z0-9_./\\\[\]-]+$`)
