package argocd

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// Declared is what one file declares.
type Declared struct {
	Applications []Application
	Sets         []Set
	Unclear      []Unclear

	file string
	data []byte // of the file
}

// File is the file that declares it.
func (d Declared) File() string { return d.file }

// Declares reports whether data may declare Applications or ApplicationSets, for most files at the price of a search for
// one rare letter. Their definitions, and other objects of Argo's, do not count.
func Declares(data []byte) bool {
	return bytes.Contains(data, []byte(group[rare:])) && says(data, "apiVersion", group) && says(data, "kind", "Application")
}

const (
	group = "argoproj.io/"
	rare  = len("argopro") // where its j is
)

// says reports whether a value that starts so stands somewhere under the key.
func says(data []byte, key, value string) bool {
	for from := 0; ; {
		i := bytes.Index(data[from:], []byte(value))
		if i < 0 {
			return false
		}
		before, colon := bytes.CutSuffix(bytes.TrimRight(data[from:from+i], " \t\r\n\"'"), []byte(":"))
		if colon && bytes.HasSuffix(bytes.TrimRight(before, " \"'"), []byte(key)) {
			return true
		}
		from += i + len(value)
	}
}

// Parse is what the file declares: in any of its documents, and in the items of a List. What is no YAML, or a template of
// YAML, is unclear.
func Parse(file string, data []byte) Declared {
	p := parsed(file, data)
	p.data = bytes.Clone(data)
	return p.Declared
}

func parsed(file string, data []byte) parser {
	p := parser{Declared: Declared{file: file}}
	for dec := yaml.NewDecoder(bytes.NewReader(data)); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return p
		}
		if err != nil {
			p.unclear(0, "not all of its Applications can be read: "+strings.TrimPrefix(err.Error(), "yaml: "))
			return p
		}
		for _, root := range doc.Content {
			p.object(root, true)
		}
	}
}

// parser gathers what a file declares.
type parser struct {
	Declared
	objects []*yaml.Node
}

func (p *parser) unclear(line int, text string) {
	p.Unclear = append(p.Unclear, Unclear{File: p.file, Line: line, Text: strings.Join(strings.Fields(text), " ")})
}

func (p *parser) object(node *yaml.Node, lists bool) {
	var o struct {
		APIVersion string   `yaml:"apiVersion"`
		Kind       string   `yaml:"kind"`
		Metadata   metadata `yaml:"metadata"`
		Spec       yaml.Node
		Items      []yaml.Node
	}
	if node.Kind != yaml.MappingNode {
		return
	}
	err := node.Decode(&o)
	if lists && strings.HasSuffix(o.Kind, "List") {
		for i := range o.Items {
			p.object(&o.Items[i], false)
		}
	}
	if !strings.HasPrefix(o.APIVersion, group) {
		return
	}
	p.objects = append(p.objects, node)
	switch {
	case o.Kind == "Application":
		t := template{Metadata: o.Metadata}
		err = errors.Join(err, o.Spec.Decode(&t.Spec))
		if err == nil && !t.templated() {
			p.Applications = append(p.Applications, t.application(p.file, node.Line))
			return
		}
	case o.Kind == "ApplicationSet":
		set := Set{Name: o.Metadata.Name, Namespace: o.Metadata.Namespace, File: p.file, Line: node.Line, declared: o.Metadata.Name}
		if err = errors.Join(err, o.Spec.Decode(&set.spec)); err == nil {
			p.Sets = append(p.Sets, set)
			return
		}
	default:
		return
	}
	text := fmt.Sprintf("%s %s is a template: what it deploys is not known", o.Kind, o.Metadata.Name)
	if err != nil {
		text = fmt.Sprintf("%s %s cannot be read: %v", o.Kind, o.Metadata.Name, err)
	}
	p.unclear(node.Line, text)
}

// template is an Application as YAML says it; in an ApplicationSet its strings are templates.
type template struct {
	Metadata metadata
	Spec     struct {
		Project        string
		Source         *source
		Sources        []source
		SourceHydrator *struct {
			DrySource source `yaml:"drySource"`
		} `yaml:"sourceHydrator"`
		Destination struct {
			Server, Name, Namespace string
		}
		SyncPolicy struct {
			Automated *struct {
				Enabled, Prune any // true, false or a template
				SelfHeal       any `yaml:"selfHeal"`
			}
		} `yaml:"syncPolicy"`
	}
}

type metadata struct {
	Name, Namespace     string
	Labels, Annotations annotations
}

const waveAnnotation = "argocd.argoproj.io/sync-wave"

type source struct {
	RepoURL        string `yaml:"repoURL"`
	TargetRevision string `yaml:"targetRevision"`
	Path           string
	Chart          string
	Ref            string
	Directory      *struct {
		Recurse          bool
		Include, Exclude string
	}
	Helm *struct {
		ValueFiles     []string `yaml:"valueFiles"`
		Lenient        any      `yaml:"ignoreMissingValueFiles"` // true, or a template
		FileParameters []struct {
			Path string
		} `yaml:"fileParameters"`
	}
	Kustomize *struct {
		Components []string
		NamePrefix string `yaml:"namePrefix"`
		NameSuffix string `yaml:"nameSuffix"`
		Namespace  string
	}
	Plugin *struct{}
}

// sources are all of the application's. Of what a hydrator renders, that is what people edit.
func (t *template) sources() []*source {
	var all []*source
	for i := range t.Spec.Sources {
		all = append(all, &t.Spec.Sources[i])
	}
	if len(all) == 0 && t.Spec.Source != nil {
		all = append(all, t.Spec.Source)
	}
	if t.Spec.SourceHydrator != nil {
		all = append(all, &t.Spec.SourceHydrator.DrySource)
	}
	return all
}

// strings are the places of all strings that count.
func (t *template) strings() []*string {
	all := []*string{&t.Metadata.Name, &t.Metadata.Namespace, &t.Spec.Project, &t.Spec.Destination.Server,
		&t.Spec.Destination.Name, &t.Spec.Destination.Namespace}
	for _, s := range t.sources() {
		all = append(all, &s.RepoURL, &s.TargetRevision, &s.Path, &s.Chart, &s.Ref)
		if s.Directory != nil {
			all = append(all, &s.Directory.Include, &s.Directory.Exclude)
		}
		if s.Helm != nil {
			all = append(all, places(s.Helm.ValueFiles)...)
			for i := range s.Helm.FileParameters {
				all = append(all, &s.Helm.FileParameters[i].Path)
			}
		}
		if s.Kustomize != nil {
			all = append(append(all, places(s.Kustomize.Components)...), &s.Kustomize.NamePrefix, &s.Kustomize.NameSuffix, &s.Kustomize.Namespace)
		}
	}
	return all
}

func places(list []string) []*string {
	var all []*string
	for i := range list {
		all = append(all, &list[i])
	}
	return all
}

// templated reports whether something fills the manifest in before Argo CD gets it, which itself replaces ${NAME} in the names
// of files alone.
func (t *template) templated() bool {
	for _, s := range t.strings() {
		if strings.Contains(*s, "{{") {
			return true
		}
	}
	filled := []string{t.Metadata.Name}
	for _, s := range t.sources() {
		filled = append(filled, s.RepoURL, s.TargetRevision, s.Path)
	}
	return slices.ContainsFunc(filled, func(s string) bool { return strings.Contains(s, "${") })
}

func (t *template) application(file string, line int) Application {
	a := Application{Name: t.Metadata.Name, Namespace: t.Metadata.Namespace, Project: t.Spec.Project, File: file, Line: line, declared: t.Metadata.Name,
		Cluster: cmp.Or(t.Spec.Destination.Server, t.Spec.Destination.Name), Into: t.Spec.Destination.Namespace,
		Labels: t.Metadata.Labels, Annotations: t.Metadata.Annotations}
	if automated := t.Spec.SyncPolicy.Automated; automated != nil {
		a.Automated = automated.Enabled != false
		a.Prune, a.SelfHeal = automated.Prune == true, automated.SelfHeal == true
	}
	if a.Project == "" {
		a.Project = "default"
	}
	a.Wave, _ = strconv.Atoi(t.Metadata.Annotations.value(waveAnnotation)) // Argo CD takes what is no number for 0
	for _, s := range t.sources() {
		a.Sources = append(a.Sources, s.value())
	}
	return a
}

func (s *source) value() Source {
	v := Source{Repository: s.RepoURL, Revision: s.TargetRevision, Chart: s.Chart, Ref: s.Ref}
	if s.Path != "" {
		v.Path = path.Clean(s.Path)
	}
	if v.Revision == "" {
		v.Revision = "HEAD"
	}
	if s.Directory != nil {
		v.kind, v.recurse, v.include, v.exclude = directory, s.Directory.Recurse, s.Directory.Include, s.Directory.Exclude
	}
	if s.Helm != nil {
		v.kind, v.values, v.lenient = helm, s.Helm.ValueFiles, s.Helm.Lenient != nil && s.Helm.Lenient != false
		for _, p := range s.Helm.FileParameters {
			v.values = append(v.values, p.Path)
		}
	}
	if s.Kustomize != nil {
		v.kind, v.components = kustomize, s.Kustomize.Components
		if k := s.Kustomize; k.NamePrefix+k.NameSuffix+k.Namespace != "" {
			v.renamed = strings.Join([]string{k.NamePrefix, k.NameSuffix, k.Namespace}, " ")
		}
	}
	if s.Plugin != nil {
		v.kind = plugin
	}
	return v
}
