// Package actiontest holds action.yml, its scripts and the repository's workflows against what they promise.
package actiontest

import (
	"bytes"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/without"
	"sigs.k8s.io/kustomize/kyaml/yaml"
)

const root = "../.."

type action struct {
	Name, Description, Author string
	Branding                  struct{ Icon, Color string }
	Inputs                    map[string]struct{ Description, Default string }
	Outputs                   map[string]struct{ Description, Value string }
	Runs                      struct {
		Using string
		Steps []step
	}
}

type step struct {
	ID, Name, If, Shell, Run string
	Env                      map[string]string
}

// read is action.yml; a key that an action does not have is an error.
func read(t *testing.T) action {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, "action.yml"))
	if err != nil {
		t.Fatal(err)
	}
	var a action
	decoder := yaml.NewDecoder(bytes.NewReader(data))
	decoder.KnownFields(true)
	if err := decoder.Decode(&a); err != nil {
		t.Fatal(err)
	}
	return a
}

// Where each input goes: to one flag or argument of each command that it concerns, to one environment variable if it is
// a secret, or to the action itself.
var (
	flagOf = map[string]map[string]string{
		"harborpush next": {
			"next": "bump", "next-prefix": "prefix", "next-paths": "path", "next-pre": "pre", "next-initial": "initial",
			"create-tag": "push", "tag-message": "message", "remote": "remote", "timeout": "timeout", "sign-format": "sign-format",
			"git-username": "git-username", "git-ca-file": "git-ca-file", "app-id": "app-id", "known-hosts": "known-hosts",
		},
		"harborpush build": {
			"tags": "tag", "file": "file", "target": "target", "build-args": "build-arg", "build-contexts": "build-context", "labels": "label",
			"annotations": "annotation", "platforms": "platform", "outputs": "output", "push": "push",
			"ssh": "ssh", "add-hosts": "add-host", "network": "network", "ulimit": "ulimit", "shm-size": "shm-size", "isolation": "isolation",
			"builder": "builder", "buildkit-tls": "tlsdir", "build-timeout": "timeout", "pull": "pull",
			"cache-repo": "cache-repo", "cache-dir": "cache-dir", "cache-mode": "cache-mode", "cache-from": "cache-from", "cache-to": "cache-to",
			"no-cache": "no-cache", "no-cache-filters": "no-cache-filter", "explain-cache": "explain-cache",
			"compression": "compression", "compression-level": "compression-level",
			"create-project": "create-project", "public": "public", "on-immutable": "on-immutable", "harbor-labels": "harbor-labels",
			"username": "username", "project": "project", "ca-file": "ca-file", "plain-http": "plain-http", "resolve": "resolve",
			"k8s-secret": "k8s-secret", "k8s-ca": "k8s-ca",
		},
		"harborpush push": {
			"tags": "tag", "compression": "compression", "compression-level": "compression-level",
			"create-project": "create-project", "public": "public", "on-immutable": "on-immutable", "harbor-labels": "harbor-labels",
			"username": "username", "project": "project", "ca-file": "ca-file", "plain-http": "plain-http", "resolve": "resolve",
			"k8s-secret": "k8s-secret", "k8s-ca": "k8s-ca",
		},
		"harborpush scan": {
			"fail-on": "fail-on", "ignore-cves": "ignore", "sarif": "sarif", "scan-timeout": "timeout",
			"username": "username", "project": "project", "ca-file": "ca-file", "plain-http": "plain-http", "resolve": "resolve",
			"k8s-secret": "k8s-secret", "k8s-ca": "k8s-ca",
		},
		"imgbump set": {
			"pin": "pin", "check-exists": "check-exists", "if-newer": "if-newer",
			"ignore-hold": "ignore-hold", "no-gitignore": "no-gitignore", "include": "include",
			"version-label": "version-label", "kustomize-add": "kustomize-add",
			"username": "username", "ca-file": "ca-file", "plain-http": "plain-http", "resolve": "resolve",
			"k8s-secret": "k8s-secret", "k8s-ca": "k8s-ca",
			"applications": "application", "repo": "repo", "targets": "target", "all-targets": "all-targets", "via": "via", "commit-per": "commit-per",
			"message-file": "message-file", "trailers": "trailer", "sign-format": "sign-format", "app-id": "app-id",
			"known-hosts": "known-hosts", "push-options": "push-option", "on-protected": "on-protected", "pr-per": "pr-per",
			"pr-fork": "pr-fork", "pr-reviewers": "pr-reviewer", "pr-assignees": "pr-assignee", "pr-draft": "pr-draft",
			"pr-auto-merge": "pr-auto-merge",
			"root":          "root", "paths": "path", "commit": "push", "dry-run": "dry-run", "branch": "branch", "remote": "remote",
			"message": "message", "author": "author", "sign-off": "sign-off", "git-username": "git-username",
			"git-ca-file": "git-ca-file", "max-attempts": "max-attempts", "timeout": "timeout",
			"all-or-nothing": "all-or-nothing", "pr": "pr", "pr-branch": "pr-branch", "pr-title": "pr-title",
			"pr-body": "pr-body", "pr-labels": "pr-label",
		},
		"imgbump wait": {
			"wait-timeout": "timeout", "argocd-server": "argocd-server", "argocd-ca-file": "argocd-ca-file", "argocd-namespace": "argocd-namespace",
			"refresh-webhook": "refresh-webhook", "sync-retries": "sync-retries", "log-lines": "log-lines",
			"root": "root", "repo": "repo", "branch": "branch", "remote": "remote", "git-username": "git-username",
			"git-ca-file": "git-ca-file", "app-id": "app-id", "known-hosts": "known-hosts",
		},
	}
	argumentOf = map[string]string{"context": "harborpush build", "archive": "harborpush push", "images": "imgbump set", "wait": "imgbump wait"}
	secrets    = map[string]string{
		"password": "HARBOR_PASSWORD", "secrets": "HARBORPUSH_SECRETS", "git-token": "IMGBUMP_TOKEN", "app-key": "IMGBUMP_APP_KEY",
		"sign-key": "IMGBUMP_SIGN_KEY", "sign-key-passphrase": "IMGBUMP_SIGN_KEY_PASSPHRASE",
		"ssh-key": "IMGBUMP_SSH_KEY", "ssh-key-passphrase": "IMGBUMP_SSH_KEY_PASSPHRASE",
		"argocd-token": "ARGOCD_AUTH_TOKEN", "refresh-webhook-secret": "IMGBUMP_ARGOCD_WEBHOOK_SECRET",
	}
	ofTheAction = []string{"bump", "scan", "binary-path", "download-url", "build-from-source"}
)

// notInputs are the flags without an input, and why.
var notInputs = map[string]string{
	"help":                        "for people",
	"format":                      "the results are the action's outputs",
	"quiet":                       "the log is folded",
	"verbose":                     "for people",
	"password-stdin":              "the password is an environment variable",
	"git-token-file":              "the token is an environment variable",
	"app-key-file":                "the key is an environment variable",
	"sign-key":                    "the key is an environment variable",
	"ssh-key":                     "the key is an environment variable",
	"metadata-file":               "the metadata is an output",
	"commit":                      "the action pushes what it commits",
	"create-tag":                  "the action pushes the tag that it makes",
	"exit-code":                   "the output changed tells it",
	"check":                       "lint findings are annotations of the build",
	"iidfile":                     "the digest is an output",
	"progress":                    "for people",
	"secret":                      "secrets are an environment variable",
	"tlscacert":                   "a folder holds it",
	"tlscert":                     "a folder holds it",
	"tlskey":                      "a folder holds it",
	"revision":                    "the action waits for the commit that it pushed",
	"all-changed":                 "the input wait is true",
	"refresh-webhook-secret-file": "the secret is an environment variable",
	"tlsservername":               "BUILDKIT_HOST has the name that the certificate has",
}

func TestEveryInputHasOnePlace(t *testing.T) {
	places := slices.Collect(maps.Keys(argumentOf))
	places = append(places, ofTheAction...)
	places = slices.AppendSeq(places, maps.Keys(secrets))
	flags := map[string]bool{}
	for _, inputs := range flagOf {
		for input := range inputs {
			flags[input] = true
		}
	}
	places = slices.AppendSeq(places, maps.Keys(flags))
	slices.Sort(places)
	if diff := cmp.Diff(slices.Sorted(maps.Keys(read(t).Inputs)), places); diff != "" {
		t.Errorf("-inputs of action.yml +inputs with a place in this test:\n%s", diff)
	}
}

var helpFlag = regexp.MustCompile(`(?m)^ +(?:-\w, )?--([a-z0-9-]+)`)

func TestEveryFlagHasAnInput(t *testing.T) {
	exempted := map[string]bool{}
	for command, inputs := range flagOf {
		t.Run(command, func(t *testing.T) {
			binary, verb, _ := strings.Cut(command, " ")
			help, err := exec.Command(filepath.Join(binaries(t), binary), verb, "--help").Output()
			if err != nil {
				t.Fatal(err)
			}
			var has, want []string
			for _, match := range helpFlag.FindAllStringSubmatch(string(help), -1) {
				if _, exempt := notInputs[match[1]]; exempt {
					exempted[match[1]] = true
				} else {
					has = append(has, match[1])
				}
			}
			want = slices.Sorted(maps.Values(inputs))
			slices.Sort(has)
			if diff := cmp.Diff(has, want); diff != "" {
				t.Errorf("-flags of %s +flags that an input goes to:\n%s", command, diff)
			}
		})
	}
	if diff := cmp.Diff(slices.Sorted(maps.Keys(notInputs)), slices.Sorted(maps.Keys(exempted))); diff != "" {
		t.Errorf("-flags without an input +those that exist:\n%s", diff)
	}
}

func TestInputsAreDocumented(t *testing.T) {
	a := read(t)
	for name, input := range a.Inputs {
		if input.Description == "" {
			t.Errorf("input %s has no description", name)
		}
	}
	steps := map[string]bool{}
	for _, s := range a.Runs.Steps {
		steps[s.ID] = true
	}
	source := regexp.MustCompile(`^\$\{\{ (?:steps\.next\.outputs\.version \|\| )?steps\.(\w+)\.outputs\.([\w-]+)( \|\| 'false')? \}\}$`)
	for name, output := range a.Outputs {
		if output.Description == "" {
			t.Errorf("output %s has no description", name)
		}
		if from := source.FindStringSubmatch(output.Value); from == nil || !steps[from[1]] || from[2] != name {
			t.Errorf("output %s is %s: want the output %s of a step", name, output.Value, name)
		}
	}
}

// What a script holds must not be made of what a user typed, and what it needs must be named.
func TestSteps(t *testing.T) {
	a := read(t)
	if a.Runs.Using != "composite" || len(a.Runs.Steps) == 0 {
		t.Fatalf("not a composite action with steps: %+v", a.Runs)
	}
	used := map[string]bool{}
	named := regexp.MustCompile(`\binputs\.([\w-]+)`)
	for _, s := range a.Runs.Steps {
		if s.ID == "" || s.Name == "" || s.Run == "" {
			t.Errorf("step %q %q: wants an id, a name and a script", s.ID, s.Name)
		}
		if s.Shell != "sh" {
			t.Errorf("step %s runs in shell %q: a runner may have nothing but sh", s.ID, s.Shell)
		}
		if strings.Contains(s.Run, "${{") {
			t.Errorf("step %s interpolates an expression into its script: %s", s.ID, s.Run)
		}
		for name, value := range s.Env {
			if input, found := strings.CutPrefix(name, "INPUT_"); found {
				input = strings.ReplaceAll(strings.ToLower(input), "_", "-")
				used[input] = true
				if want := "${{ inputs." + input + " }}"; value != want {
					t.Errorf("step %s: %s is %s, want %s", s.ID, name, value, want)
				}
			}
			for input, variable := range secrets {
				if strings.Contains(value, "inputs."+input+" ") {
					used[input] = true
					if want := "${{ inputs." + input + " || env." + variable + " }}"; name != variable || value != want {
						t.Errorf("step %s: secret %s travels as %s: %s, want %s: %s", s.ID, input, name, value, variable, want)
					}
				}
			}
		}
		for _, match := range named.FindAllStringSubmatch(s.If+strings.Join(slices.Collect(maps.Values(s.Env)), " "), -1) {
			if _, known := a.Inputs[match[1]]; !known {
				t.Errorf("step %s: there is no input %s", s.ID, match[1])
			}
		}
	}
	for input := range a.Inputs {
		if !used[input] {
			t.Errorf("input %s reaches no step", input)
		}
	}
}

// binaries is the folder of imgbump and harborpush, built once from this checkout; TestMain removes it.
func binaries(t *testing.T) string {
	t.Helper()
	dir, err := build()
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

var built string

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "actiontest-")
	if err != nil {
		return "", err
	}
	built = dir
	cmd := exec.Command("go", "build", "-o", dir+"/", "./cmd/imgbump", "./cmd/harborpush")
	cmd.Dir, cmd.Stdout, cmd.Stderr = root, os.Stderr, os.Stderr
	return dir, cmd.Run()
})

func TestMain(m *testing.M) {
	code := m.Run()
	if built != "" {
		os.RemoveAll(built)
	}
	os.Exit(code)
}

// tool is the path of a program that hack/tools.sh installs, or .ci/run.
func tool(t *testing.T, name string) string {
	t.Helper()
	return without.Program(t, name, "sh hack/test.sh or .ci/run brings it")
}

func TestWorkflowsPassActionlint(t *testing.T) {
	cmd := exec.Command(tool(t, "actionlint"), "-no-color")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("actionlint: %v\n%s", err, out)
	}
}
