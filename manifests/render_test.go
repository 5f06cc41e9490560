package manifests_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/without"
	"go.yaml.in/yaml/v3"
)

// kubernetes is the newest version whose schemas kubectl-validate v0.0.4 carries. The API versions used here are the same in later ones.
const kubernetes = "1.30"

// TestRendered builds what every Application of this repository deploys, as Argo CD would, and asks for valid objects with pinned images.
func TestRendered(t *testing.T) {
	out := t.TempDir()
	for _, a := range applications(t) {
		for i, s := range a.sources() {
			if s.RepoURL != repository {
				continue
			}
			rendered := render(t, a, s)
			if len(rendered) == 0 {
				t.Errorf("%s: %s deploys nothing", a.Metadata.Name, s.Path)
			}
			for _, o := range rendered {
				checkImages(t, a.Metadata.Name, o.Node)
			}
			write(t, filepath.Join(out, fmt.Sprintf("%s-%d.yaml", a.Metadata.Name, i)), rendered)
		}
	}
	run(t, "kubectl-validate", "--version", kubernetes, "--local-crds", crds(t), out)
}

// crds is the folder with the schemas of custom resources. Not checked: the values given to other people's charts.
func crds(t *testing.T) string {
	t.Helper()
	folder := filepath.Join("..", ".tools", "crds")
	if _, err := os.Stat(folder); err != nil {
		without.Skip(t, ".tools/crds: sh hack/crds.sh")
	}
	return folder
}

// TestSchemas shows that a chart and the schemas that its resources are checked against are of one version.
func TestSchemas(t *testing.T) {
	script, err := os.ReadFile("../hack/crds.sh")
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range applications(t) {
		for _, s := range a.sources() {
			pinned := regexp.MustCompile(`\n\S+/` + regexp.QuoteMeta(s.Chart) + ` +v(\S+)`).FindSubmatch(script)
			if s.Chart != "" && pinned != nil && string(pinned[1]) != strings.TrimPrefix(s.TargetRevision, "v") {
				t.Errorf("chart %s is %s, hack/crds.sh has v%s", s.Chart, s.TargetRevision, pinned[1])
			}
		}
	}
}

// TestRunners validates the pods of the scale sets, which are values for the chart: a misspelt field of a securityContext
// would be left out in silence.
func TestRunners(t *testing.T) {
	out, found := t.TempDir(), 0
	for _, o := range tree(t) {
		template, ok := o.Fields["template"].(map[string]any)
		if !ok || !strings.HasPrefix(o.File, "platform/ci-cd/github-actions") {
			continue
		}
		found++
		pod := map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": map[string]any{"name": "runner"}, "spec": template["spec"]}
		text, err := yaml.Marshal(pod)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(out, fmt.Sprintf("%d.yaml", found)), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if found != 2 {
		t.Errorf("%d scale sets", found)
	}
	run(t, "kubectl-validate", "--version", kubernetes, out)
}

// TestKustomizations builds each one by itself: the base that no Application names, too.
func TestKustomizations(t *testing.T) {
	for _, o := range tree(t) {
		if path.Base(o.File) == "kustomization.yaml" {
			run(t, "kustomize", "build", path.Dir(o.File))
		}
	}
}

func render(t *testing.T, a application, s source) []object {
	t.Helper()
	has := func(name string) bool {
		_, err := os.Stat(path.Join(s.folder(), name))
		return err == nil
	}
	switch {
	case has("kustomization.yaml"):
		return parse(t, s.Path, run(t, "kustomize", "build", s.folder()))
	case has("Chart.yaml"):
		args := []string{"template", s.Helm.ReleaseName, s.folder(), "--namespace", a.Spec.Destination.Namespace}
		for _, file := range valueFiles(a, s) {
			args = append(args, "--values", file)
		}
		return parse(t, s.Path, run(t, "helm", args...))
	default:
		return plain(t, s)
	}
}

// checkImages looks at every `image:` string at any depth: each has a tag other than latest, or a digest.
func checkImages(t *testing.T, application string, node *yaml.Node) {
	t.Helper()
	pinned := regexp.MustCompile(`^[^:@\s]+(:[\w][\w.-]*)?(@sha256:[0-9a-f]{64})?$`)
	for i, child := range node.Content {
		checkImages(t, application, child)
		if node.Kind != yaml.MappingNode || i%2 == 0 || node.Content[i-1].Value != "image" || child.Kind != yaml.ScalarNode {
			continue
		}
		m := pinned.FindStringSubmatch(child.Value)
		if m == nil || m[1]+m[2] == "" || m[1] == ":latest" {
			t.Errorf("%s: image %q is not pinned", application, child.Value)
		}
	}
}

func write(t *testing.T, file string, documents []object) {
	t.Helper()
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	for _, o := range documents {
		if err := encoder.Encode(o.Node); err != nil {
			t.Fatal(err)
		}
	}
	if out.Len() == 0 {
		return
	}
	if err := os.WriteFile(file, out.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
}

// run is a tool's stdout. The tool sees no kubeconfig, so that a laptop's cluster is never asked.
func run(t *testing.T, tool string, args ...string) []byte {
	t.Helper()
	command := exec.Command(without.Program(t, tool, "sh hack/tools.sh "+tool), args...)
	home := t.TempDir()
	command.Env = append(os.Environ(), "HOME="+home, "KUBECONFIG="+filepath.Join(home, "none"))
	var stderr strings.Builder
	command.Stderr = &stderr
	stdout, err := command.Output()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s%s", tool, strings.Join(args, " "), err, stderr.String(), stdout)
	}
	return stdout
}
