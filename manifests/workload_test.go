package manifests_test

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// lacks is what the pods of the tree do without, of what a pod should have (see hardening): a pod that is not here has all of
// it. Many are as people write them; those with a reason say it in their file.
var lacks = map[string]string{
	"DaemonSet node-exporter":           "token seccomp user root escalation capabilities",
	"Deployment grafana":                "token seccomp user root escalation capabilities",
	"Deployment hitomi":                 "token seccomp user root escalation capabilities",
	"Deployment hitomi-worker":          "token seccomp user root escalation capabilities",
	"Deployment imgbump":                "token",
	"Deployment local-path-provisioner": "token seccomp user root escalation capabilities memory",
	"Deployment rss":                    "token seccomp user root escalation capabilities memory",
	"Deployment slack":                  "token seccomp user root escalation capabilities",
	"CronJob pepup":                     "token seccomp user root escalation capabilities",
	"StatefulSet buildkitd":             "seccomp user root escalation capabilities",
	"StatefulSet prometheus":            "token seccomp root escalation capabilities",
}

func TestHardening(t *testing.T) {
	found := map[string]string{}
	for _, d := range deployed(t) {
		for _, o := range d.objects {
			if spec := podOf(o); spec != nil {
				if missing := strings.Join(hardening(spec), " "); missing != "" {
					found[o.text("kind")+" "+o.text("metadata", "name")] = missing
				}
			}
		}
	}
	if diff := cmp.Diff(lacks, found); diff != "" {
		t.Errorf("what pods lack, wanted - found +:\n%s", diff)
	}
}

// hardening names what a pod lacks: of the restricted Pod Security Standard, and beyond it a root filesystem that nobody writes
// to, a limit to its memory, and no token that it does not need.
func hardening(spec map[string]any) []string {
	missing := map[string]bool{"token": at(spec, "automountServiceAccountToken") != false}
	for _, container := range containers(spec) {
		either := func(field ...string) any {
			if own := at(container, append([]string{"securityContext"}, field...)...); own != nil {
				return own
			}
			return at(spec, append([]string{"securityContext"}, field...)...)
		}
		missing["seccomp"] = missing["seccomp"] || either("seccompProfile", "type") != "RuntimeDefault"
		missing["user"] = missing["user"] || either("runAsNonRoot") != true
		missing["root"] = missing["root"] || at(container, "securityContext", "readOnlyRootFilesystem") != true
		missing["escalation"] = missing["escalation"] || at(container, "securityContext", "allowPrivilegeEscalation") != false
		missing["capabilities"] = missing["capabilities"] || !cmp.Equal(at(container, "securityContext", "capabilities"), any(map[string]any{"drop": []any{"ALL"}}))
		missing["memory"] = missing["memory"] || at(container, "resources", "limits", "memory") == nil
	}
	return slices.DeleteFunc([]string{"token", "seccomp", "user", "root", "escalation", "capabilities", "memory"}, func(what string) bool { return !missing[what] })
}

// TestSecrets shows that what pods read from secrets is made by something here, key by key.
func TestSecrets(t *testing.T) {
	made := madeSecrets(t)
	for _, d := range deployed(t) {
		for _, o := range d.objects {
			namespace := namespaceOf(o, d.application)
			for secret, keys := range wantedSecrets(podOf(o)) {
				have, ok := made[namespace+"/"+secret]
				if !ok {
					t.Errorf("%s %s: nothing makes the secret %s in %s", o.text("kind"), o.text("metadata", "name"), secret, namespace)
				}
				for _, key := range keys {
					if ok && !slices.Contains(have, key) {
						t.Errorf("%s %s: secret %s has %v, not %s", o.text("kind"), o.text("metadata", "name"), secret, have, key)
					}
				}
			}
		}
	}
}

// wantedSecrets are those of a pod, with the keys that it asks for by name.
func wantedSecrets(spec map[string]any) map[string][]string {
	wanted := map[string][]string{}
	want := func(name any, keys ...string) {
		if name, ok := name.(string); ok {
			wanted[name] = append(wanted[name], keys...)
		}
	}
	for _, secret := range list(spec, "imagePullSecrets") {
		want(secret["name"])
	}
	for _, volume := range list(spec, "volumes") {
		var keys []string
		for _, item := range list(volume, "secret", "items") {
			keys = append(keys, item["key"].(string))
		}
		want(at(volume, "secret", "secretName"), keys...)
	}
	for _, container := range containers(spec) {
		for _, from := range list(container, "envFrom") {
			want(at(from, "secretRef", "name"))
		}
		for _, env := range list(container, "env") {
			if ref, ok := at(env, "valueFrom", "secretKeyRef").(map[string]any); ok {
				want(ref["name"], ref["key"].(string))
			}
		}
	}
	return wanted
}

// madeSecrets are the keys of the secrets that External Secrets and cert-manager make, by NAMESPACE/NAME.
func madeSecrets(t *testing.T) map[string][]string {
	t.Helper()
	made, everywhere, pulls := map[string][]string{}, map[string][]string{}, []string{}
	for _, d := range deployed(t) {
		for _, o := range d.objects {
			switch spec, _ := at(o.Fields, "spec").(map[string]any); o.text("kind") {
			case "ExternalSecret":
				made[namespaceOf(o, d.application)+"/"+o.text("spec", "target", "name")] = secretKeys(spec)
			case "ClusterExternalSecret":
				inner, _ := at(spec, "externalSecretSpec").(map[string]any)
				everywhere[o.text("spec", "externalSecretSpec", "target", "name")] = secretKeys(inner)
			case "Certificate":
				made[namespaceOf(o, d.application)+"/"+o.text("spec", "secretName")] = []string{"ca.crt", "tls.crt", "tls.key"}
			case "Namespace":
				if at(o.Fields, "metadata", "labels", "harbor.internal.example.com/pull") == "true" {
					pulls = append(pulls, o.text("metadata", "name"))
				}
			}
		}
	}
	for name, keys := range everywhere {
		for _, namespace := range pulls {
			made[namespace+"/"+name] = keys
		}
	}
	return made
}

// secretKeys are those of an ExternalSecret: of its template when it has one.
func secretKeys(spec map[string]any) []string {
	if data, ok := at(spec, "target", "template", "data").(map[string]any); ok {
		return slices.Sorted(maps.Keys(data))
	}
	var keys []string
	for _, data := range list(spec, "data") {
		keys = append(keys, data["secretKey"].(string))
	}
	return keys
}

// TestProjects shows that an Application's project lets it deploy what it deploys.
func TestProjects(t *testing.T) {
	projects := map[string]map[string]any{}
	for _, o := range tree(t) {
		if o.text("kind") == "AppProject" {
			projects[o.text("metadata", "name")], _ = o.Fields["spec"].(map[string]any)
		}
	}
	for _, d := range deployed(t) {
		a := d.application
		if a.Spec.Project == "default" {
			continue
		}
		project, ok := projects[a.Spec.Project]
		if !ok {
			t.Errorf("%s: there is no project %s", a.Metadata.Name, a.Spec.Project)
			continue
		}
		if repos, _ := project["sourceRepos"].([]any); !slices.Contains(repos, any(d.source.RepoURL)) {
			t.Errorf("%s: its project has no source %s", a.Metadata.Name, d.source.RepoURL)
		}
		used := map[string]bool{}
		for _, o := range d.objects {
			group, _, grouped := strings.Cut(o.text("apiVersion"), "/")
			if !grouped {
				group = ""
			}
			used[group+"/"+o.text("kind")] = true
			if namespace := namespaceOf(o, a); !contains(list(project, "destinations"), map[string]any{"server": a.Spec.Destination.Server, "namespace": namespace}) {
				t.Errorf("%s: its project does not reach %s", a.Metadata.Name, namespace)
			}
		}
		allowed := map[string]bool{}
		for _, kind := range list(project, "namespaceResourceWhitelist") {
			allowed[kind["group"].(string)+"/"+kind["kind"].(string)] = true
		}
		if diff := cmp.Diff(used, allowed); diff != "" {
			t.Errorf("%s: kinds, deployed - allowed by its project +:\n%s", a.Metadata.Name, diff)
		}
	}
}

// deployment is what a source of an Application deploys.
type deployment struct {
	application application
	source      source
	objects     []object
}

func deployed(t *testing.T) []deployment {
	t.Helper()
	var all []deployment
	for _, a := range applications(t) {
		for _, s := range a.sources() {
			if s.RepoURL == repository {
				all = append(all, deployment{a, s, render(t, a, s)})
			}
		}
	}
	return all
}

func namespaceOf(o object, a application) string {
	if own := o.text("metadata", "namespace"); own != "" {
		return own
	}
	return a.Spec.Destination.Namespace
}

// podOf is the pod's specification in an object that makes pods, nil in others.
func podOf(o object) map[string]any {
	for _, where := range [][]string{{"spec", "jobTemplate", "spec", "template", "spec"}, {"spec", "template", "spec"}} {
		if spec, ok := at(o.Fields, where...).(map[string]any); ok {
			return spec
		}
	}
	return nil
}

func containers(spec map[string]any) []map[string]any {
	return append(list(spec, "initContainers"), list(spec, "containers")...)
}

// at is the value at a path of keys, nil when there is none.
func at(fields map[string]any, keys ...string) any {
	var value any = fields
	for _, key := range keys {
		inner, _ := value.(map[string]any)
		value = inner[key]
	}
	return value
}

// list is the list of mappings at a path of keys.
func list(fields map[string]any, keys ...string) []map[string]any {
	var found []map[string]any
	values, _ := at(fields, keys...).([]any)
	for _, value := range values {
		if fields, ok := value.(map[string]any); ok {
			found = append(found, fields)
		}
	}
	return found
}

func contains(all []map[string]any, one map[string]any) bool {
	return slices.ContainsFunc(all, func(other map[string]any) bool { return cmp.Equal(one, other) })
}
