package manifest

import (
	"cmp"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Find is every site in the file, in the order in which they are met: that of the file, with the places that rules name
// first. The error is a *SyntaxError when it is no YAML.
func Find(path string, data []byte, rules Rules) ([]Site, error) {
	src := newSource(path, data)
	docs, err := src.documents()
	if err != nil {
		return nil, err
	}
	f := &finder{src: src, rules: rules, markers: src.markers(), seen: map[int][]int{}, ruled: map[int]bool{}}
	f.holds, f.policies = src.notes()
	for n, doc := range docs {
		f.doc = n
		for _, root := range doc.Content {
			f.document(root)
		}
	}
	if err := cmp.Or(f.err, src.keys.err); err != nil {
		return nil, err
	}
	return f.sites, nil
}

// finder walks the documents of one file and collects its sites.
type finder struct {
	src      *source
	rules    Rules
	markers  map[int]marker // by line
	holds    map[int]note   // by line
	policies map[int]note   // by line
	doc      int
	scope    scope
	nesting  int  // how many block scalars are around src
	marked   bool // only marked values count
	further  bool // a place that is a site already is not another one, whatever it is taken for
	ruling   bool // what a rule says of a place goes before all else
	sites    []Site
	seen     map[int][]int // places in sites, by start
	ruled    map[int]bool  // by start
	err      error
}

// scope is what the mappings around a node say about it.
type scope struct {
	object   Object
	root     mapping // the object's
	registry string  // global.imageRegistry of Helm values
}

func (f *finder) document(root *yaml.Node) {
	if root.Kind == yaml.ScalarNode {
		return
	}
	m := mapping{f.src, root}
	builtIn, others := f.rules.builtIn(f.src.path)
	f.apply(builtIn, "", m, nil)
	f.apply(f.rules.Fields, "", m, nil)
	if !others && (root.Kind == yaml.MappingNode && (objectOf(m).Kind != "" || isKustomization(f.src.path, m)) ||
		isPatch(m) || !objectsOnly(f.src.path)) {
		f.visit(root, "", nil)
	}
}

// isKustomization follows kustomize, which goes by the file's name, and accepts the kind where a file has one.
func isKustomization(path string, root mapping) bool {
	if version := root.text("apiVersion"); version != "" {
		return strings.HasPrefix(version, "kustomize.config.k8s.io/")
	}
	return IsKustomization(path)
}

// objectOf is the object that m is, zero when it is none.
func objectOf(m mapping) Object {
	o := Object{APIVersion: m.text("apiVersion"), Kind: m.text("kind")}
	if o.APIVersion == "" || o.Kind == "" {
		return Object{}
	}
	if _, v := m.find("metadata"); v != nil && v.Kind == yaml.MappingNode {
		meta := mapping{m.src, v}
		o.Namespace, o.Name = meta.text("namespace"), meta.text("name")
	}
	return o
}

// visit walks node, which stands under key; the elements of a list stand under the list's key.
func (f *finder) visit(node *yaml.Node, key string, at *trail) {
	if at != nil && at.depth > maxDepth {
		f.err = &SyntaxError{Line: node.Line, Message: "nested more than " + strconv.Itoa(maxDepth) + " levels deep"}
		return
	}
	switch node.Kind {
	case yaml.MappingNode:
		f.mapping(mapping{f.src, node}, key, at)
	case yaml.SequenceNode:
		f.sequence(node, key, at)
	case yaml.AliasNode:
		if target := node.Alias; target.Kind == yaml.MappingNode && isImageKey(key) && !f.marked {
			f.imageMap(mapping{f.src, target}, key, at)
		}
	case yaml.ScalarNode:
		f.block(node, key, at)
	}
}

func (f *finder) sequence(node *yaml.Node, key string, at *trail) {
	if isPatch(mapping{f.src, node}) && !f.marked {
		f.named(node, "path", "/", at)
	}
	for i, element := range node.Content {
		element = resolved(element)
		if m, ok := f.marker(element); ok && m.part == "" {
			f.whole(mapping{f.src, node}, element, at.element(i, element))
		}
		if element.Kind != yaml.ScalarNode || element.Style&yaml.LiteralStyle != 0 {
			f.visit(element, key, at.element(i, element))
		}
	}
}

func (f *finder) mapping(m mapping, key string, at *trail) {
	outer := f.scope
	defer func() { f.scope = outer }()
	if o := objectOf(m); o.Kind != "" {
		if f.rules.excluded(o) {
			return
		}
		f.scope.object, f.scope.root = o, m
		f.apply(f.rules.Fields, o.Kind, m, at)
	}
	if _, global := m.find("global"); global != nil && global.Kind == yaml.MappingNode {
		f.scope.registry = mapping{f.src, global}.text("imageRegistry")
	}
	if !f.marked {
		f.imageMap(m, key, at)
		f.variable(m, at)
	}
	kustomizes, helms := f.kustomizes(m, key, at), key == "helm" && isArgo(f.src.path, f.scope.object)
	m.entries(func(k, v *yaml.Node) {
		switch {
		case kustomizes && k.Value == "images":
			f.images(v, at.key(k))
		case helms && k.Value == "parameters" && v.Kind == yaml.SequenceNode:
			f.named(v, "name", ".", at.key(k))
		case v.Kind == yaml.ScalarNode && mayNameImage(k.Value) && !f.marked:
			f.reference(m, k, v, at)
		case v.Kind == yaml.ScalarNode && strings.HasSuffix(k.Value, "Repository") && !f.marked:
			f.prefixed(m, k.Value, at)
		case v.Kind != yaml.ScalarNode || v.Style&yaml.LiteralStyle != 0:
			f.visit(v, k.Value, at.key(k))
		}
	})
	f.further = true
	if len(f.markers) > 0 {
		f.marks(m, at)
	}
	f.further = false
}

// kustomizes reports whether m is a kustomization, or what Argo CD and Flux take in its place.
func (f *finder) kustomizes(m mapping, key string, at *trail) bool {
	switch o := f.scope.object; {
	case f.marked:
		return false
	case at == nil:
		return isKustomization(f.src.path, m)
	case key == "spec":
		return o.Kind == "Kustomization" && strings.HasPrefix(o.APIVersion, "kustomize.toolkit.fluxcd.io/")
	case key == "kustomize":
		return o.Kind == "HelmRelease" || isArgo(f.src.path, o)
	}
	return false
}

// isArgo reports whether an object, or the file that overrides one, says where Argo CD gets manifests from.
func isArgo(path string, o Object) bool {
	return slices.Contains([]string{"Application", "ApplicationSet"}, o.Kind) && strings.HasPrefix(o.APIVersion, "argoproj.io/") ||
		isOverride(path)
}

// isOverride reports whether Argo CD reads p as overrides of an Application: .argocd-source.yaml, .argocd-source-APP.yaml.
func isOverride(p string) bool { return strings.HasPrefix(path.Base(p), ".argocd-source") }

// add keeps the site, unless it was already met through another alias or as another form: what holds it there holds it
// everywhere.
func (f *finder) add(site Site, lines ...int) {
	site.about = append(lines, site.Line)
	for _, line := range site.about {
		site.Hold = cmp.Or(site.Hold, f.holds[line].text)
		if m, marked := f.markers[line]; marked {
			site.Marker = cmp.Or(site.Marker, m.policy)
			site.NameMarked = site.NameMarked || m.part == "" || m.part == "name"
		}
		if rule := f.policies[line]; site.Rule == "" {
			site.Rule, site.RuleLine = rule.text, rule.line
		}
	}
	if site.End > 0 {
		met := f.seen[site.Start]
		for _, i := range met {
			f.sites[i].Hold = cmp.Or(f.sites[i].Hold, site.Hold)
			f.sites[i].about = append(f.sites[i].about, site.about...)
		}
		same := func(i int) bool { return f.sites[i].Ref == site.Ref }
		if f.ruled[site.Start] || f.further && len(met) > 0 || slices.ContainsFunc(met, same) {
			return
		}
		if f.ruling {
			f.ruled[site.Start] = true
		}
		f.seen[site.Start] = append(met, len(f.sites))
	}
	site.File, site.Doc, site.Object, site.root = f.src.path, f.doc, f.scope.object, f.scope.root
	f.sites = append(f.sites, site)
}
