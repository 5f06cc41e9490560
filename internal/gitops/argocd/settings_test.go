package argocd_test

import (
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

func TestSettings(t *testing.T) {
	for name, tt := range map[string]struct {
		data             string
		settings, health bool
	}{
		"the ConfigMap":         {"kind: ConfigMap\nmetadata: \n  name: argocd-cm\ndata:\n  resource.customizations.health.argoproj.io_Application: |\n", true, true},
		"without":               {"kind: ConfigMap\nmetadata: \n  name: 'argocd-cm'\n", true, false},
		"a comment":             {"metadata: \n  name: argocd-cm\ndata:\n  # resource.customizations.health.argoproj.io_Application: |\n", true, false},
		"a generator":           {"configMapGenerator:\n- name: argocd-cm\n  files: [resource.customizations.health.argoproj.io_Application=app.lua]\n", true, true},
		"values":                {"configs:\n  cm:\n    resource.customizations.health.argoproj.io_Application: x\n", false, true},
		"all kinds in one":      {"metadata:\n  name: argocd-cm\ndata:\n  resource.customizations: |\n    argoproj.io/Application:\n      health.lua: |\n        return {}\n", true, true},
		"another kind":          {"metadata:\n  name: argocd-cm\ndata:\n  resource.customizations: |\n    argoproj.io/Rollout:\n      health.lua: |\n        return {}\n", true, false},
		"the operator's":        {"kind: ArgoCD\nspec:\n  resourceHealthChecks:\n  - group: argoproj.io\n    kind: Application\n    check: return {}\n", false, true},
		"the operator's others": {"kind: ArgoCD\nspec:\n  resourceHealthChecks:\n  - group: apps\n    kind: Deployment\n", false, false},
		"a mention":             {"kind: Deployment\nspec: {configMap: argocd-cm}\n", false, false},
	} {
		if settings, health := argocd.Settings([]byte(tt.data)); settings != tt.settings || health != tt.health {
			t.Errorf("%s: settings %v, health %v", name, settings, health)
		}
	}
}
