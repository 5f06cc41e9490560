// Package internal holds the one test that keeps the packages apart: who may import whom, and which third
// party lives where. docs/design.md explains the picture; this file is the rule.
package internal

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ksera524/imgbump"

// imports says, for each package, which of ours it may import; tests may import anything of ours.
// A package that is not listed fails the test, so that a new one is given its place here.
var imports = map[string][]string{
	"cmd/imgbump":    {"*"},
	"cmd/harborpush": {"*"},
	"internal/demo":  {"*"},
	"bench":          {"*"},
	"bench/images":   {"*"},
	"bench/update":   {"*"},
	"bench/serve":    {"*"},

	"internal/demo/app": {},

	"internal/cli":    {"fault"},
	"internal/access": {"cli", "config", "environ", "fault", "imageref", "kube", "leash", "registry", "trust"},

	"internal/gitaccess": {"cli", "fault", "gitops/github", "gitops/repo", "openssh"},

	"internal/githubactions": {"fault"},

	"internal/fault":            {},
	"internal/environ":          {},
	"internal/leash":            {},
	"internal/cosign":           {"fault"},
	"internal/version":          {"fault"},
	"internal/trust":            {"fault"},
	"internal/openssh":          {"fault"},
	"internal/sshagent":         {"fault"},
	"internal/imageref":         {"fault"},
	"internal/image":            {"fault", "imageref"},
	"internal/dockerfile":       {"fault", "imageref", "image", "sandbox/step", "sandbox/binfmt", "stepcache"},
	"internal/stepcache":        {},
	"internal/stepcache/folder": {"fault", "image", "stepcache"},
	"internal/sandbox/step":     {},
	"internal/sandbox/binfmt":   {},
	"internal/sandbox/layerdir": {},
	"internal/sandbox/tempdir":  {},
	"internal/sandbox":          {"fault", "sandbox/step", "sandbox/tempdir", "sandbox/wire"},
	"internal/sandbox/wire":     {"fault", "sandbox/step"},
	"internal/sandbox/engine":   {"fault", "sandbox/step", "sandbox/tempdir", "sandbox/wire", "sandbox/layerdir"},
	"internal/gitops/manifest":  {"fault", "imageref"},
	"internal/gitops/ignore":    {},
	"internal/gitops/trailer":   {},
	"internal/gitops/argocd":    {"gitops/ignore", "gitops/manifest"},
	"internal/config":           {"fault", "imageref", "gitops/ignore", "gitops/manifest", "policy", "timespan"},
	"internal/config/resource":  {"config"},
	"internal/config/aiu":       {"config", "config/resource", "gitops/argocd", "gitops/manifest", "imageref", "policy"},
	"internal/config/flux":      {"config", "config/resource", "gitops/argocd", "gitops/ignore", "gitops/manifest", "imageref", "policy"},
	"internal/bump":             {"fault", "imageref", "config", "config/aiu", "config/flux", "policy", "gitops/manifest", "gitops/argocd", "gitops/trailer"},
	"internal/prune":            {"fault", "config", "gitops/manifest", "retention"},
	"internal/release":          {"fault", "version"},
	"internal/buildkit":         {"fault", "imageref", "image", "dockerfile", "sandbox/step"},
	"internal/ship":             {"fault", "imageref", "image", "dockerfile", "stepcache"},
	"internal/gitops/folder":    {"fault", "gitops/ignore", "gitops/manifest"},
	"internal/gitops/repo":      {"environ", "fault", "gitops/manifest", "leash", "openssh", "trust", "gitops/trailer"},
	"internal/gitops/github":    {"fault", "gitops/trailer"},
	"internal/registry":         {"environ", "fault", "imageref", "image", "leash", "policy", "stepcache"},
	"internal/registry/harbor":  {"fault", "registry"},
	"internal/registry/catalog": {"cosign", "fault", "imageref", "image", "policy", "registry", "registry/harbor"},
	"internal/timespan":         {},
	"internal/retention":        {"timespan"},
	"internal/policy":           {"fault", "image", "timespan"},
	"internal/sarif":            {},
	"internal/diagram":          {},
	"internal/rollout":          {"fault"},
	"internal/vigil":            {"fault", "rollout"},
	"internal/argoapi":          {"fault", "rollout"},
	"internal/argotest":         {"rollout"},
	"internal/provenance":       {},
	"internal/remote":           {"fault", "leash"},
	"internal/registrytest":     {},
	"internal/gittest":          {},
	"internal/githubtest":       {"gittest"},
	"internal/kube":             {"fault"},
	"internal/kubetest":         {},
	"internal/without":          {},
	"internal/status":           {"fault"},
	"internal/reconcile":        {"fault", "imageref", "status"},
	"internal/webhook":          {"fault", "imageref"},
	"internal/statuspage":       {"fault", "status"},
	"internal/metrics":          {"status"},
	"internal/buildkittest":     {"without"},
}

// quarantine says which packages may import a third party, by the longest matching prefix.
var quarantine = map[string][]string{
	"github.com/google/go-containerregistry/pkg/v1":        {"image", "dockerfile", "ship", "registry", "registrytest", "stepcache", "stepcache/folder"},
	"github.com/google/go-containerregistry/pkg/v1/remote": {"registry"},
	"github.com/google/go-containerregistry/pkg/authn":     {"registry"},
	"github.com/google/go-containerregistry/pkg/name":      {"imageref", "registry"},
	"github.com/google/go-containerregistry/pkg/registry":  {"registrytest"},
	"github.com/docker/cli":                                {"registry"},
	"github.com/moby/buildkit":                             {"dockerfile"},
	"github.com/moby/patternmatcher":                       {"dockerfile"},
	"github.com/therootcompany/xz":                         {"dockerfile"},
	"github.com/tonistiigi/dchapes-mode":                   {"dockerfile"},
	"github.com/tonistiigi/fsutil":                         {"buildkit"},
	"google.golang.org/protobuf":                           {"buildkit"},
	"sigs.k8s.io/kustomize/kyaml":                          {"gitops/manifest", "gitops/argocd", "config", "config/resource", "config/aiu", "config/flux"},
	"github.com/go-git":                                    {"gitops/repo"},
	"golang.org/x/time":                                    {"webhook", "cmd/imgbump"},
	"github.com/hiddeco/sshsig":                            {"gitops/repo"},
	"github.com/ProtonMail/go-crypto":                      {"gitops/repo"},
	"github.com/google/go-github":                          {"gitops/github"},
	"github.com/sethvargo/go-githubactions":                {"githubactions"},
	"github.com/prometheus":                                {"metrics"},
	"github.com/spf13/cobra":                               {"cli", "access", "gitaccess", "cmd/imgbump", "cmd/harborpush"},
	"github.com/spf13/pflag":                               {"cli", "access", "gitaccess", "cmd/imgbump", "cmd/harborpush"},
}

type listed struct {
	ImportPath string
	Imports    []string
}

func TestImports(t *testing.T) {
	for _, p := range packages(t) {
		path := strings.TrimPrefix(p.ImportPath, module+"/")
		if path == "internal" || path == "manifests" || path == "internal/actiontest" || path == "docs" {
			continue // tests only
		}
		allowed, known := imports[path]
		if !known {
			t.Errorf("%s: not in the table of internal/architecture_test.go: give it a place", path)
			continue
		}
		for _, imported := range p.Imports {
			if ours, ok := strings.CutPrefix(imported, module+"/"); ok {
				if !slices.Contains(allowed, "*") && !slices.Contains(allowed, strings.TrimPrefix(ours, "internal/")) {
					t.Errorf("%s may not import %s", path, ours)
				}
			} else if owners := keepers(imported); owners != nil && !slices.Contains(owners, strings.TrimPrefix(path, "internal/")) {
				t.Errorf("%s may not import %s: it lives in %s", path, imported, strings.Join(owners, ", "))
			}
		}
	}
}

// keepers are the packages that may import a third party, or nil when anybody may.
func keepers(imported string) []string {
	longest := ""
	for prefix := range quarantine {
		if len(prefix) > len(longest) && (imported == prefix || strings.HasPrefix(imported, prefix+"/")) {
			longest = prefix
		}
	}
	return quarantine[longest]
}

func packages(t *testing.T) []listed {
	t.Helper()
	cmd := exec.Command("go", "list", "-json=ImportPath,Imports", "./...")
	cmd.Dir = ".."
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []listed
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
}
