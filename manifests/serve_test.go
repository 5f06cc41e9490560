package manifests_test

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/webhook"
)

// TestCommands has imgbump itself say whether it takes the arguments that pods give it, and knows their environment.
func TestCommands(t *testing.T) {
	imgbump := filepath.Join(t.TempDir(), "imgbump")
	if out, err := exec.Command("go", "build", "-o", imgbump, "../cmd/imgbump").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	secrets, verbs := madeSecrets(t), []string{}
	for _, d := range deployed(t) {
		for _, o := range d.objects {
			for _, container := range containers(podOf(o)) {
				if !cmp.Equal(container["command"], any([]any{"imgbump"})) {
					continue
				}
				var args []string
				for _, arg := range container["args"].([]any) {
					args = append(args, arg.(string))
				}
				verbs = append(verbs, args[0])
				help, err := exec.Command(imgbump, append(args, "--help")...).CombinedOutput()
				if err != nil {
					t.Errorf("imgbump %s: %v\n%s", strings.Join(args, " "), err, help)
				}
				for _, name := range environment(container, secrets, namespaceOf(o, d.application)) {
					if !known(string(help), name) {
						t.Errorf("imgbump %s does not know the variable %s", args[0], name)
					}
				}
			}
		}
	}
	if slices.Sort(verbs); !cmp.Equal(verbs, []string{"serve", "update"}) {
		t.Errorf("pods run %v", verbs)
	}
}

// environment are the variables of a container, those of whole secrets too.
func environment(container map[string]any, secrets map[string][]string, namespace string) []string {
	var names []string
	for _, env := range list(container, "env") {
		names = append(names, env["name"].(string))
	}
	for _, from := range list(container, "envFrom") {
		names = append(names, secrets[fmt.Sprint(namespace, "/", at(from, "secretRef", "name"))]...)
	}
	return names
}

// known reports whether the help text lists a variable.
func known(help, name string) bool {
	if kind, ok := strings.CutPrefix(name, "IMGBUMP_WEBHOOK_SECRET_"); ok {
		return slices.ContainsFunc(webhook.Kinds(), func(k webhook.Kind) bool {
			return kind == strings.NewReplacer(".", "_", "-", "_").Replace(strings.ToUpper(string(k)))
		})
	}
	return name == "GOMEMLIMIT" || name == "HARBOR_PROJECT" || regexp.MustCompile(`\b`+name+`\b`).MatchString(help)
}

// TestLease shows that imgbump may do with its Lease what an election takes, and nothing else in the cluster.
func TestLease(t *testing.T) {
	o := imgbump(t)
	container := containers(podOf(o("Deployment", "imgbump")))[0]
	if args, _ := container["args"].([]any); !slices.Contains(args, any("--lease=imgbump/imgbump")) {
		t.Errorf("the Deployment elects nobody: %v", args)
	}
	lease := func(verbs []any, names ...any) any {
		rule := map[string]any{"apiGroups": []any{"coordination.k8s.io"}, "resources": []any{"leases"}, "verbs": verbs}
		if len(names) > 0 {
			rule["resourceNames"] = names
		}
		return rule
	}
	want := []any{lease([]any{"get", "update"}, "imgbump"), lease([]any{"create"})}
	if diff := cmp.Diff(any(want), o("Role", "imgbump-lease").Fields["rules"]); diff != "" {
		t.Errorf("the Role, wanted - found +:\n%s", diff)
	}
	binding := o("RoleBinding", "imgbump-lease")
	subject := map[string]any{"kind": "ServiceAccount", "name": podOf(o("Deployment", "imgbump"))["serviceAccountName"], "namespace": "imgbump"}
	if binding.text("roleRef", "name") != "imgbump-lease" || !contains(list(binding.Fields, "subjects"), subject) {
		t.Errorf("the RoleBinding is for %v", binding.Fields["subjects"])
	}
}

// TestSelectors shows that what is about imgbump's pods selects them, and finds their port.
func TestSelectors(t *testing.T) {
	o := imgbump(t)
	deployment, service := o("Deployment", "imgbump"), o("Service", "imgbump")
	pod := at(deployment.Fields, "spec", "template", "metadata", "labels")
	for what, selector := range map[string]any{
		"Deployment":          at(deployment.Fields, "spec", "selector", "matchLabels"),
		"spread":              at(list(podOf(deployment), "topologySpreadConstraints")[0], "labelSelector", "matchLabels"),
		"Service":             at(service.Fields, "spec", "selector"),
		"PodDisruptionBudget": at(o("PodDisruptionBudget", "imgbump").Fields, "spec", "selector", "matchLabels"),
		"NetworkPolicy":       at(o("NetworkPolicy", "imgbump").Fields, "spec", "podSelector", "matchLabels"),
	} {
		if !selects(selector, pod) {
			t.Errorf("the %s selects %v, not %v", what, selector, pod)
		}
	}
	monitor := o("ServiceMonitor", "imgbump")
	if selector := at(monitor.Fields, "spec", "selector", "matchLabels"); !selects(selector, at(service.Fields, "metadata", "labels")) {
		t.Errorf("the ServiceMonitor selects %v", selector)
	}
	named, port := containers(podOf(deployment))[0], list(service.Fields, "spec", "ports")[0]
	if list(named, "ports")[0]["name"] != port["targetPort"] || list(monitor.Fields, "spec", "endpoints")[0]["port"] != port["name"] {
		t.Errorf("the Service's port is %v", port)
	}
	for _, probe := range []string{"startupProbe", "livenessProbe", "readinessProbe"} {
		if at(named, probe, "httpGet", "port") != port["targetPort"] {
			t.Errorf("the %s asks %v", probe, at(named, probe))
		}
	}
}

func selects(selector, labels any) bool {
	wanted, _ := selector.(map[string]any)
	have, _ := labels.(map[string]any)
	for key, value := range wanted {
		if have[key] != value {
			return false
		}
	}
	return len(wanted) > 0
}

// TestRoutes shows that what is routed arrives, and that the Internet reaches webhooks and nothing else.
func TestRoutes(t *testing.T) {
	o := imgbump(t)
	var gateway object
	for _, other := range tree(t) {
		if other.text("kind") == "Gateway" {
			gateway = other
		}
	}
	for _, name := range []string{"imgbump-webhooks", "imgbump-page"} {
		route := o("HTTPRoute", name)
		parent, hosts := list(route.Fields, "spec", "parentRefs")[0], at(route.Fields, "spec", "hostnames").([]any)
		if parent["name"] != gateway.text("metadata", "name") || parent["namespace"] != gateway.text("metadata", "namespace") {
			t.Errorf("%s: there is no gateway %v", name, parent)
		}
		i := slices.IndexFunc(list(gateway.Fields, "spec", "listeners"), func(l map[string]any) bool { return l["name"] == parent["sectionName"] })
		if i < 0 {
			t.Fatalf("%s: the gateway has no listener %v", name, parent["sectionName"])
		}
		listener := list(gateway.Fields, "spec", "listeners")[i]
		if allowed := at(listener, "allowedRoutes", "namespaces", "selector", "matchLabels", "kubernetes.io/metadata.name"); allowed != "imgbump" || !cmp.Equal(hosts, []any{listener["hostname"]}) {
			t.Errorf("%s: its listener is for %v of %v", name, listener["hostname"], allowed)
		}
		service := o("Service", "imgbump")
		backend := list(list(route.Fields, "spec", "rules")[0], "backendRefs")[0]
		if backend["name"] != "imgbump" || backend["port"] != list(service.Fields, "spec", "ports")[0]["port"] {
			t.Errorf("%s: there is no Service %v", name, backend)
		}
	}
	public := []map[string]any{{"method": "POST", "path": map[string]any{"type": "PathPrefix", "value": "/webhook"}}}
	rules := list(o("HTTPRoute", "imgbump-webhooks").Fields, "spec", "rules")
	if len(rules) != 1 || !cmp.Equal(list(rules[0], "matches"), public) {
		t.Errorf("the Internet reaches %v", rules)
	}
}

// imgbump finds what the Application imgbump deploys, by kind and name.
func imgbump(t *testing.T) func(kind, name string) object {
	t.Helper()
	for _, d := range deployed(t) {
		if d.application.Metadata.Name != "imgbump" {
			continue
		}
		return func(kind, name string) object {
			t.Helper()
			i := slices.IndexFunc(d.objects, func(o object) bool { return o.text("kind") == kind && o.text("metadata", "name") == name })
			if i < 0 {
				t.Fatalf("Application imgbump has no %s %s", kind, name)
			}
			return d.objects[i]
		}
	}
	t.Fatal("there is no Application imgbump")
	return nil
}

// TestOwnCluster builds the kustomization that docs/serve-deploy.md shows, with the base of this checkout.
func TestOwnCluster(t *testing.T) {
	text, err := os.ReadFile(runbook)
	if err != nil {
		t.Fatal(err)
	}
	shown := regexp.MustCompile("(?s)```yaml\n# kustomization.yaml\n(.*?)```").FindSubmatch(text)
	remote := regexp.MustCompile(`https://github.com/ksera524/imgbump//manifests/(\S+)\?ref=\S+`)
	if shown == nil || !remote.Match(shown[1]) {
		t.Fatalf("%s shows no kustomization", runbook)
	}
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	here, err := filepath.Abs(string(remote.FindSubmatch(shown[1])[1]))
	if err != nil {
		t.Fatal(err)
	}
	base, err := filepath.Rel(dir, here)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path.Join(dir, "kustomization.yaml"), remote.ReplaceAll(shown[1], []byte(base)), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, o := range parse(t, runbook, run(t, "kustomize", "build", dir)) {
		if o.text("kind") == "Deployment" {
			container := containers(podOf(o))[0]
			want := []any{"serve", "--repo=https://github.com/team/gitops.git", "--branch=main", "--root=.", "--lease=imgbump/imgbump", "--log-format=json"}
			if diff := cmp.Diff(any(want), container["args"]); diff != "" || container["image"] != "harbor.example.com/team/imgbump:1.0.0" {
				t.Errorf("it runs %v with\n%s", container["image"], diff)
			}
			return
		}
	}
	t.Error("it has no Deployment")
}
