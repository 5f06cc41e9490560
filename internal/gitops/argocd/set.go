package argocd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Set is an ApplicationSet.
type Set struct {
	Name      string
	Namespace string // "" when the manifest leaves it to whoever applies it
	File      string
	Line      int
	spec      setSpec
	declared  string   // its name as the file has it
	through   []string // the folders whose kustomizations make it what it is, nil when none changes it
}

// Revisions are those of the tree that the set's git generators look into, HEAD where they name none.
func (s Set) Revisions(place Place) []string {
	var all []string
	for _, g := range s.spec.Generators {
		if g.Git != nil && place.isHere(g.Git.RepoURL) {
			all = append(all, cmp.Or(g.Git.Revision, "HEAD"))
		}
	}
	return all
}

type setSpec struct {
	GoTemplate    bool `yaml:"goTemplate"`
	Generators    []generator
	Template      yaml.Node
	TemplatePatch string `yaml:"templatePatch"`
}

// generator is one of the kinds that are rendered here, or names Others.
type generator struct {
	List *struct {
		Elements     []yaml.Node
		ElementsYaml string `yaml:"elementsYaml"`
		Template     yaml.Node
	}
	Git      *gitGenerator
	Selector *yaml.Node
	Others   map[string]yaml.Node `yaml:",inline"`
}

// gitGenerator makes parameters of the folders, or of the files, of a repository.
type gitGenerator struct {
	RepoURL         string `yaml:"repoURL"`
	Revision        string
	Directories     []pattern
	Files           []pattern
	PathParamPrefix string `yaml:"pathParamPrefix"`
	Values          map[string]string
	Template        yaml.Node
}

type pattern struct {
	Path    string
	Exclude bool
}

// parameters are what a generator gives to the template, once for each application.
type parameters map[string]any

// generated are the applications that the set makes of the tree. What cannot be told without the cluster, or without an
// engine for templates, is an error.
func (s Set) generated(l *lister) ([]Application, error) {
	if strings.Contains(s.spec.TemplatePatch, "source") || strings.Contains(s.spec.TemplatePatch, waveAnnotation) {
		return nil, errors.New("its templatePatch is not rendered")
	}
	var all []Application
	for _, g := range s.spec.Generators {
		given, err := g.parameters(l, s.spec.GoTemplate)
		if err != nil {
			return nil, err
		}
		if len(all)+len(given) > maxApplications {
			return nil, errTooMany
		}
		for _, p := range given {
			a, err := s.application(p)
			if err != nil {
				return nil, err
			}
			all = append(all, a)
		}
	}
	return all, nil
}

// application is the one that the template makes of the parameters.
func (s Set) application(p parameters) (Application, error) {
	render := p.fastTemplate()
	if s.spec.GoTemplate {
		render = p.goTemplate
	}
	var t template
	if err := s.spec.Template.Decode(&t); err != nil {
		return Application{}, err
	}
	for _, text := range t.strings() {
		rendered, err := render(*text)
		if err != nil {
			return Application{}, err
		}
		*text = rendered
	}
	if wave := t.Metadata.Annotations.value(waveAnnotation); wave != "" {
		if _, err := render(wave); err != nil {
			return Application{}, err
		}
	}
	t.Metadata.Annotations, t.Metadata.Labels = t.Metadata.Annotations.rendered(render), t.Metadata.Labels.rendered(render)
	a := t.application(s.File, s.Line)
	a.Set, a.Namespace, a.declared, a.through = s.Name, s.Namespace, s.declared, s.through
	a.Automated = a.Automated || strings.Contains(s.spec.TemplatePatch, "automated") // what for is not known, but to switch it on
	return a, nil
}

// parameters are what the generator gives.
func (g generator) parameters(l *lister, goTemplate bool) ([]parameters, error) {
	switch {
	case len(g.Others) > 0:
		return nil, fmt.Errorf("its generator %s is not rendered", slices.Sorted(maps.Keys(g.Others))[0])
	case g.Selector != nil:
		return nil, errors.New("the selector of its generator is not rendered")
	case g.List != nil && g.List.ElementsYaml != "":
		return nil, errors.New("elementsYaml of its generator is not rendered")
	case g.List != nil && !g.List.Template.IsZero() || g.Git != nil && !g.Git.Template.IsZero():
		return nil, errors.New("the template of its generator is not rendered")
	case g.List != nil:
		return elements(g.List.Elements, goTemplate)
	case g.Git != nil:
		return g.Git.parameters(l, goTemplate)
	}
	return nil, nil
}

func (g gitGenerator) parameters(l *lister, goTemplate bool) ([]parameters, error) {
	if !l.place.isHere(g.RepoURL) {
		return nil, errors.New("its generator looks into another repository")
	}
	var all []parameters
	add := func(given parameters, dir, file string) error {
		given.addPath(g.PathParamPrefix, dir, file, goTemplate)
		all = append(all, given)
		return given.addValues(g.Values, goTemplate)
	}
	if len(g.Directories) > 0 {
		dirs, err := l.folders(g.Directories)
		for _, dir := range dirs {
			err = errors.Join(err, add(parameters{}, dir, ""))
		}
		return all, err
	}
	files, err := l.files(g.Files)
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		data, err := l.byPath[file].Read(nil)
		if err != nil {
			return nil, err
		}
		objects, err := objectsIn(data)
		if err != nil {
			return nil, fmt.Errorf("%s, which its generator reads: %w", file, err)
		}
		for _, object := range objects {
			if err := add(object, path.Dir(file), path.Base(file)); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// elements are the parameters that a list has. Without Go's templates they are texts, but for a mapping of values.
func elements(list []yaml.Node, goTemplate bool) ([]parameters, error) {
	var all []parameters
	for i := range list {
		if err := list[i].Decode(new(any)); err != nil { // what has too many aliases is refused
			return nil, err
		}
		element, ok := plain(&list[i], maxDepth).(map[string]any)
		if !ok {
			return nil, fmt.Errorf("element %d of its generator is no mapping", i+1)
		}
		for key, value := range element {
			if _, text := value.(string); !text && !goTemplate && key != "values" {
				return nil, fmt.Errorf("%s in element %d of its generator is no text", key, i+1)
			}
		}
		all = append(all, element)
	}
	return all, nil
}

// objectsIn is the mapping, or the list of mappings, that a generator's file holds. An empty file is an empty mapping.
func objectsIn(data []byte) ([]parameters, error) {
	var doc yaml.Node
	if err := yaml.NewDecoder(bytes.NewReader(data)).Decode(&doc); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	var value any
	if len(doc.Content) > 0 {
		if err := doc.Decode(&value); err != nil { // what has too many aliases is refused
			return nil, err
		}
		value = plain(doc.Content[0], maxDepth)
	}
	switch v := value.(type) {
	case nil:
		return []parameters{{}}, nil
	case map[string]any:
		return []parameters{v}, nil
	case []any:
		var all []parameters
		for _, element := range v {
			object, ok := element.(map[string]any)
			if !ok {
				return nil, errors.New("it is no list of mappings")
			}
			all = append(all, object)
		}
		return all, nil
	}
	return nil, errors.New("it is no mapping")
}
