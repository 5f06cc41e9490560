package manifest_test

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/kyaml/yaml"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// differently are the expectations of Image Updater's tests that are not met, and why.
var differently = map[string]string{
	"Invalid unmarshal originalData error with valid Helm source":                           "what is no override is left alone",
	"GitHub issue #1411 - should not create duplicates with docker.io explicit vs implicit": "docker.io/ stays as it is spelled",
	"GitHub issue #1411 - multiple update cycles should not accumulate duplicates":          "docker.io/ stays as it is spelled",
	"docker-io-explicit-vs-implicit":                                                        "docker.io/ stays as it is spelled",
	"docker-io-explicit-vs-implicit-with-org":                                               "docker.io/ stays as it is spelled",
	"Empty originalData error with valid Helm source":                                       "a file without an image is not made",
	"Plugin source from scratch":                                                            "plugins are not written, and policies for them say so",
	"Plugin source merges with existing data":                                               "plugins are not written, and policies for them say so",
	"SourceHydrator app with nil Helm writes custom values file via fallback":               "the case says no version",
	"Image-tag value not found uses fallback from ContainerImage":                           "the chosen version is written, not the one that runs",
	"Empty target tag should not override a non existing helm tag":                          "there is always a version",
	"images filter: all":    "several writes",
	"images filter: simple": "there is always a version",
	"does not treat an indented marker as a document start":                  "it is no YAML, and left alone",
	"SourceHydrator app with Helm in DrySource writes default override file": "the case says no version",
	"invalid-path": "the path is for the reader of policies",
}

type peer struct {
	Name, Op, Kind string
	Input          json.RawMessage
	Change         json.RawMessage
	Want           json.RawMessage
	WantError      json.RawMessage                `json:"want_error"`
	WantContains   []string                       `json:"want_contains"`
	Parameters     []struct{ Name, Value string } `json:"desired_helm_parameters"`
	Kustomize      []string                       `json:"desired_kustomize_images"`
	Images         []struct {
		Identifier, HelmImageName, HelmImageTag, HelmImageSpec string
	}
}

func peers(t *testing.T, file string) []peer {
	t.Helper()
	dir := os.Getenv("IMGBUMP_CASES")
	if dir == "" {
		t.Skip("not run: IMGBUMP_CASES names no folder")
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	var all struct{ Cases []peer }
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil || len(all.Cases) == 0 {
		t.Fatal(err)
	}
	return all.Cases
}

// real makes the digests of the cases such as there are.
func real(s string) string {
	for _, short := range []string{"sha12345", "sha23456"} {
		s = strings.ReplaceAll(s, short, "sha256:"+short[3:]+strings.Repeat("0", 59))
	}
	return s
}

// sameYAML reports whether two texts say the same.
func sameYAML(t *testing.T, want, got string) {
	t.Helper()
	var a, b any
	if err := yaml.Unmarshal([]byte(want), &a); err != nil {
		t.Fatal(err)
	}
	if err := yaml.Unmarshal([]byte(got), &b); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(a, b); diff != "" {
		t.Errorf("%s\n%s", diff, got)
	}
}

// TestParametersPeers writes what Image Updater's tests want written, in values files and overrides.
func TestParametersPeers(t *testing.T) {
	for _, c := range peers(t, "writeback_params_aiu.json") {
		t.Run(c.Name, func(t *testing.T) {
			if reason, known := differently[c.Name]; known {
				t.Skip("differently: " + reason)
			}
			var input, want string
			_ = json.Unmarshal(c.Input, &input)
			_ = json.Unmarshal(c.Want, &want)
			data, err := []byte(input), error(nil)
			values := map[string]string{}
			for _, p := range c.Parameters {
				values[p.Name] = p.Value
			}
			override := c.Kind != "helmvalues"
			for _, i := range c.Images {
				_, name, aliased := strings.Cut(i.Identifier, "=")
				if !aliased {
					name, _, _ = strings.Cut(i.Identifier, ":")
				}
				target := manifest.Target{Override: override, Name: i.HelmImageName, Tag: i.HelmImageTag, Spec: i.HelmImageSpec}
				if target.Spec == "" && target.Name == "" {
					target.Name = "image.name"
				}
				if target.Spec == "" && target.Tag == "" {
					target.Tag = "image.tag"
				}
				text := values[target.Spec]
				if target.Spec == "" {
					if v := values[target.Name]; v != "" {
						name = v
					}
					text = name + ":" + values[target.Tag]
				}
				if len(c.Kustomize) > 0 && c.Kind == "argocd-source-kustomize" || strings.HasSuffix(text, ":") || text == "" {
					continue // it has no version, so that nothing would be written
				}
				ref := ref(t, text)
				target.Image = ref.Bare()
				if err == nil {
					data, err = target.Set("values.yaml", data, ref)
				}
			}
			for _, image := range c.Kustomize {
				if c.Kind != "argocd-source-kustomize" || len(c.Images) == 0 {
					continue
				}
				ref := ref(t, image)
				if !ref.Versioned() { // a name without a version, which is never chosen
					ref.Tag = "x"
					want = strings.Replace(want, "- "+image+"\n", "- "+image+":x\n", 1)
				}
				if err == nil {
					data, err = manifest.Target{Override: true, Image: ref.Bare(), Replaces: ref.Bare()}.Set("values.yaml", data, ref)
				}
			}
			if string(c.WantError) == "true" && len(c.Images) > 0 {
				if err == nil {
					t.Errorf("it is not refused: %s", data)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if want != "" {
				sameYAML(t, want, string(data))
			}
			for _, part := range c.WantContains {
				if !strings.Contains(string(data), part) && len(c.Parameters) > 0 && len(c.Images) > 0 {
					t.Errorf("%q is not in it:\n%s", part, data)
				}
			}
		})
	}
}

// TestKustomizationPeers writes to kustomizations and overrides what Image Updater's tests want written.
func TestKustomizationPeers(t *testing.T) {
	for _, c := range peers(t, "kustomize_writeback_aiu.json") {
		t.Run(c.Name, func(t *testing.T) {
			name := strings.TrimPrefix(c.Name, "merge .argocd-source images: ")
			if reason, known := differently[name]; known {
				t.Skip("differently: " + reason)
			}
			var input, want map[string]string
			_ = json.Unmarshal(c.Input, &input)
			_ = json.Unmarshal(c.Want, &want)
			var change struct {
				Override string `json:"kustomize_override"`
			}
			var changes []string
			if json.Unmarshal(c.Change, &changes) != nil {
				_ = json.Unmarshal(c.Change, &change)
				changes = []string{change.Override}
			}
			switch c.Op {
			case "set kustomize image", "apply overrides in order to empty kustomization":
				data := []byte(real(input["kustomization.yaml"]))
				for _, change := range changes {
					to, replaces := override(t, change)
					var err error
					if data, err = (manifest.Target{Image: to.Bare(), Replaces: replaces}).Set("kustomization.yaml", data, to); err != nil {
						t.Fatal(err)
					}
				}
				if len(want) == 0 {
					want = input
				}
				if c.Op == "set kustomize image" {
					if diff := cmp.Diff(real(want["kustomization.yaml"]), string(data)); diff != "" {
						t.Error(diff)
					}
					return
				}
				sameYAML(t, real(want["kustomization.yaml"]), string(data))
			case "merge image list":
				var before, after []string
				_ = json.Unmarshal(c.Input, &before)
				_ = json.Unmarshal(c.Want, &after)
				merged(t, before, changes, after)
			}
		})
	}
}

// override is [NAME=]IMAGE.
func override(t *testing.T, s string) (to, replaces imageref.Ref) {
	name, image, renamed := strings.Cut(real(s), "=")
	if !renamed {
		image = name
	}
	to = ref(t, image)
	if replaces = to.Bare(); renamed {
		replaces = ref(t, name)
	}
	return to, replaces
}

func merged(t *testing.T, before, changes, want []string) {
	data := []byte("kustomize:\n  images: [" + strings.Join(before, ", ") + "]\n")
	for _, change := range changes {
		to, replaces := override(t, change)
		if !to.Versioned() {
			continue
		}
		var err error
		if data, err = (manifest.Target{Override: true, Image: to.Bare(), Replaces: replaces}).Set("x.yaml", data, to); err != nil {
			t.Fatal(err)
		}
	}
	for _, image := range want {
		if strings.Contains(image, "@") && strings.Contains(image, ":latest") && !strings.Contains(strings.Join(changes, " "), image) {
			continue // the digest alone is written, and no tag beside it kept
		}
		if !strings.Contains(string(data), image) {
			t.Errorf("%s is not in %s", image, data)
		}
	}
}
