// Package manifests_test keeps the example cluster of this folder working, because people copy it and tests edit it.
// This file reads the tree as Argo CD's app-of-apps does; render_test.go builds and validates what each Application deploys.
package manifests_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

const (
	repository = "https://github.com/ksera524/k8s_myHome.git"
	root       = "bootstrap/app-of-apps.yaml"
	wave       = "argocd.argoproj.io/sync-wave"
)

// waves is the order in which the cluster comes up; README.md explains it.
var waves = map[string]string{
	"local-path-provisioner":    "1",
	"core":                      "2",
	"metallb":                   "3",
	"metallb-config":            "4",
	"ingress-nginx":             "5",
	"envoy-gateway":             "5",
	"cert-manager":              "6",
	"cert-manager-config":       "7",
	"external-secrets":          "7",
	"gateway":                   "8",
	"kube-prometheus-stack":     "9",
	"argocd-config":             "10",
	"harbor":                    "10",
	"arc-controller":            "10",
	"buildkit":                  "10",
	"github-actions":            "10",
	"github-actions-restricted": "10",
	"user-applications":         "11",
	"cloudflared":               "12",
	"hitomi":                    "12",
	"hitomi-staging":            "12",
	"monitoring":                "12",
	"pepup":                     "12",
	"rss":                       "12",
	"slack":                     "12",
	"slack-staging":             "12",
	"harbor-patches":            "13",
	"imgbump":                   "14",
}

// bare are the files that hold no Kubernetes object: values, a chart's own file, a program's configuration.
var bare = regexp.MustCompile(`(^|/)(values(-[a-z]+)?\.yaml|Chart\.yaml|imgbump\.yaml|prometheus\.yml)$`)

// application is as much of Argo CD's Application as the tree uses. It is decoded strictly, so a misspelt field fails;
// a field that is new here is to be looked up in Argo CD's operator manual, then added.
type application struct {
	APIVersion string `yaml:"apiVersion"`
	Kind       string
	Metadata   struct {
		Name, Namespace     string
		Labels, Annotations map[string]string
		Finalizers          []string
	}
	Spec struct {
		Project     string
		Source      *source
		Sources     []source
		Destination struct{ Server, Namespace string }
		SyncPolicy  struct {
			Automated struct {
				Prune    bool
				SelfHeal bool `yaml:"selfHeal"`
			}
			SyncOptions []string `yaml:"syncOptions"`
			Retry       struct {
				Limit   int
				Backoff struct {
					Duration    string
					Factor      int
					MaxDuration string `yaml:"maxDuration"`
				}
			}
		} `yaml:"syncPolicy"`
	}
}

type source struct {
	RepoURL        string `yaml:"repoURL"`
	TargetRevision string `yaml:"targetRevision"`
	Chart, Path    string
	Ref            string
	Directory      struct{ Exclude string }
	Helm           struct {
		ReleaseName  string         `yaml:"releaseName"`
		ValueFiles   []string       `yaml:"valueFiles"`
		ValuesObject map[string]any `yaml:"valuesObject"`
		Values       string
		Parameters   []struct{ Name, Value string }
	}
}

func (a application) sources() []source {
	if a.Spec.Source != nil {
		return append([]source{*a.Spec.Source}, a.Spec.Sources...)
	}
	return a.Spec.Sources
}

// folder is where a source of this repository lies below manifests/.
func (s source) folder() string { return strings.TrimPrefix(s.Path, "manifests/") }

// object is one YAML document; Fields is nil for a document that is not a mapping.
type object struct {
	File   string
	Node   *yaml.Node
	Fields map[string]any
}

func (o object) text(keys ...string) string {
	var at any = o.Fields
	for _, key := range keys {
		fields, _ := at.(map[string]any)
		at = fields[key]
	}
	text, _ := at.(string)
	return text
}

func TestObjects(t *testing.T) {
	for _, o := range tree(t) {
		if path.Base(o.File) == "kustomization.yaml" {
			continue // kustomize refuses what it does not know: TestKustomizations
		}
		if bare.MatchString(o.File) {
			if o.text("kind") != "" {
				t.Errorf("%s: a %s in a file for values", o.File, o.text("kind"))
			}
			continue
		}
		if o.text("apiVersion") == "" || o.text("kind") == "" || o.text("metadata", "name") == "" {
			t.Errorf("%s:%d: not an object with apiVersion, kind and metadata.name", o.File, o.Node.Line)
		}
		if o.text("kind") == "Secret" {
			t.Errorf("%s:%d: a Secret in Git", o.File, o.Node.Line)
		}
	}
}

// TestWaves also shows that the root reaches every Application of the tree.
func TestWaves(t *testing.T) {
	reached := map[string]string{}
	for _, a := range applications(t) {
		if a.Metadata.Name != "root" {
			reached[a.Metadata.Name] = a.Metadata.Annotations[wave]
		}
	}
	if diff := cmp.Diff(waves, reached); diff != "" {
		t.Errorf("waves, wanted - found +:\n%s", diff)
	}
	for _, o := range tree(t) {
		if name := o.text("metadata", "name"); o.text("kind") == "Application" && o.File != root && reached[name] == "" {
			t.Errorf("%s:%d: no source leads from %s to Application %s", o.File, o.Node.Line, root, name)
		}
	}
}

func TestSources(t *testing.T) {
	version := regexp.MustCompile(`^v?\d+\.\d+\.\d+$`)
	for _, a := range applications(t) {
		if len(a.sources()) == 0 {
			t.Errorf("%s: no source", a.Metadata.Name)
		}
		for _, s := range a.sources() {
			switch {
			case s.RepoURL != repository:
				if s.Chart == "" || !version.MatchString(s.TargetRevision) {
					t.Errorf("%s: %s: wanted a chart in one exact version, have %q %q", a.Metadata.Name, s.RepoURL, s.Chart, s.TargetRevision)
				}
			case s.TargetRevision != "main" || !strings.HasPrefix(s.Path, "manifests/"):
				t.Errorf("%s: wanted a path below manifests/ on main, have %q on %q", a.Metadata.Name, s.Path, s.TargetRevision)
			}
			for _, file := range valueFiles(a, s) {
				if _, err := os.Stat(file); err != nil {
					t.Errorf("%s: valueFiles: %v", a.Metadata.Name, err)
				}
			}
		}
	}
}

// TestNamespaces shows that what an Application deploys has a namespace to go to: made in wave 2, or with an Application.
func TestNamespaces(t *testing.T) {
	known := []string{"argocd", "default"} // there before the root is
	for _, o := range tree(t) {
		if o.text("kind") == "Namespace" {
			known = append(known, o.text("metadata", "name"))
		}
	}
	all := applications(t)
	for _, a := range all {
		if slices.Contains(a.Spec.SyncPolicy.SyncOptions, "CreateNamespace=true") {
			known = append(known, a.Spec.Destination.Namespace)
		}
	}
	for _, a := range all {
		if to := a.Spec.Destination.Namespace; !slices.Contains(known, to) {
			t.Errorf("%s: nobody makes the namespace %q", a.Metadata.Name, to)
		}
	}
}

// TestWriting holds the oddities that a real repository has and an editor would tidy away.
func TestWriting(t *testing.T) {
	for file, has := range map[string]string{
		"apps/pepup/cronjob.yaml":                           `(?s)^[^\n]*\r\n([^\n]*\r\n)*$`,
		"apps/hitomi/values-staging.yaml":                   `[^\n]$`,
		"apps/hitomi/values.yaml":                           `# [^\n]*タグ[^\n]*\n`,
		"apps/hitomi/values-production.yaml":                `image: \{repository: [^,]+, tag: [^}]+\} +# `,
		"apps/slack/overlays/staging/kustomization.yaml":    `newTag: "1\.10"`,
		"apps/rss/deployment.yaml":                          `# image: harbor`,
		"apps/monitoring/node-exporter.yaml":                `image: >-\n`,
		"core/storage-classes/local-path-provisioner.yaml":  `\|\n    apiVersion: v1\n    kind: Pod\n`,
		"bootstrap/applications/core.yaml":                  `^---\n`,
		"infrastructure/gitops/harbor/sandbox-project.yaml": `image: "curlimages`,
	} {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Error(err)
		} else if !regexp.MustCompile(has).Match(data) {
			t.Errorf("%s: %s is gone", file, has)
		}
	}
}

// applications follows the app-of-apps from its root as Argo CD does: what a source deploys may be Applications in turn.
func applications(t *testing.T) []application {
	t.Helper()
	queue, seen := decodeApplications(t, objects(t, root)), map[string]bool{}
	for i := 0; i < len(queue); i++ {
		if name := queue[i].Metadata.Name; seen[name] {
			t.Fatalf("Application %s is deployed twice, or by itself", name)
		}
		seen[queue[i].Metadata.Name] = true
		for _, s := range queue[i].sources() {
			if s.RepoURL == repository {
				queue = append(queue, decodeApplications(t, plain(t, s))...)
			}
		}
	}
	return queue
}

func decodeApplications(t *testing.T, documents []object) []application {
	t.Helper()
	var found []application
	for _, o := range documents {
		if o.text("kind") != "Application" {
			continue
		}
		text, err := yaml.Marshal(o.Node)
		if err != nil {
			t.Fatal(err)
		}
		var a application
		decoder := yaml.NewDecoder(bytes.NewReader(text))
		decoder.KnownFields(true)
		if err := decoder.Decode(&a); err != nil {
			t.Fatalf("%s:%d: %v", o.File, o.Node.Line, err)
		}
		if a.APIVersion != "argoproj.io/v1alpha1" {
			t.Errorf("%s:%d: an Application of %q", o.File, o.Node.Line, a.APIVersion)
		}
		found = append(found, a)
	}
	return found
}

// plain is what Argo CD applies from a folder without kustomization or chart: the files in it, not those below.
func plain(t *testing.T, s source) []object {
	t.Helper()
	entries, err := os.ReadDir(s.folder())
	if err != nil {
		t.Fatal(err)
	}
	var found []object
	for _, entry := range entries {
		name := entry.Name()
		if !entry.IsDir() && path.Ext(name) == ".yaml" && name != s.Directory.Exclude && !bare.MatchString(name) {
			found = append(found, objects(t, path.Join(s.folder(), name))...)
		}
	}
	return found
}

// valueFiles are the values files of a source, below manifests/. `$ref/` stands for the source of this Application that has the ref.
func valueFiles(a application, s source) []string {
	var files []string
	for _, file := range s.Helm.ValueFiles {
		resolved := path.Join(s.folder(), file)
		for _, other := range a.sources() {
			if below, ok := strings.CutPrefix(file, "$"+other.Ref+"/manifests/"); ok {
				resolved = below
			}
		}
		files = append(files, resolved)
	}
	return files
}

// tree is every document of every YAML file, in order. A chart's templates are no YAML before Helm has rendered them.
func tree(t *testing.T) []object {
	t.Helper()
	var found []object
	err := filepath.WalkDir(".", func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if entry.IsDir() && entry.Name() == "templates" {
			return fs.SkipDir
		}
		if ext := path.Ext(file); ext == ".yaml" || ext == ".yml" {
			found = append(found, objects(t, filepath.ToSlash(file))...)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

func objects(t *testing.T, file string) []object {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return parse(t, file, data)
}

// parse refuses duplicate keys, as Kubernetes does.
func parse(t *testing.T, file string, data []byte) []object {
	t.Helper()
	var found []object
	for decoder := yaml.NewDecoder(bytes.NewReader(data)); ; {
		o := object{File: file, Node: &yaml.Node{}}
		err := decoder.Decode(o.Node)
		if errors.Is(err, io.EOF) {
			return found
		}
		if err == nil {
			err = o.Node.Decode(&o.Fields)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
		if len(o.Fields) > 0 {
			found = append(found, o)
		}
	}
}
