package provenance

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func environment(env map[string]string) func(string) string {
	return func(name string) string { return env[name] }
}

var workflow = map[string]string{
	"GITHUB_SERVER_URL": "https://ghe.test", "GITHUB_REPOSITORY": "team/app", "GITHUB_SHA": "0123456789abcdef0123",
	"GITHUB_RUN_ID": "42", "GITHUB_ACTOR": "octocat", "GITHUB_EVENT_NAME": "push",
}

func TestFromWorkflow(t *testing.T) {
	with := func(key, value string) map[string]string {
		env := map[string]string{}
		for k, v := range workflow {
			env[k] = v
		}
		env[key] = value
		return env
	}
	want := Source{Repository: "https://ghe.test/team/app", Commit: "0123456789abcdef0123", Run: "42", Actor: "octocat"}
	onBranch := want
	onBranch.Commit = "feedface"
	event := []byte(`{"pull_request":{"head":{"sha":"feedface"}}}`)
	for name, tt := range map[string]struct {
		env   map[string]string
		event []byte
		want  Source
		ok    bool
	}{
		"push":                  {workflow, event, want, true},
		"pull request":          {with("GITHUB_EVENT_NAME", "pull_request"), event, onBranch, true},
		"pull request's target": {with("GITHUB_EVENT_NAME", "pull_request_target"), event, onBranch, true},
		"event unreadable":      {with("GITHUB_EVENT_NAME", "pull_request"), []byte("{"), want, true},
		"no event":              {with("GITHUB_EVENT_NAME", "pull_request"), nil, want, true},
		"no workflow":           {map[string]string{}, nil, Source{}, false},
		"no commit":             {with("GITHUB_SHA", ""), nil, Source{}, false},
	} {
		got, ok := FromWorkflow(environment(tt.env), tt.event)
		if diff := cmp.Diff(tt.want, got); diff != "" || ok != tt.ok {
			t.Errorf("%s: %v\n%s", name, ok, diff)
		}
	}
}

func TestAnnotations(t *testing.T) {
	s, _ := FromWorkflow(environment(workflow), nil)
	want := map[string]string{
		"org.opencontainers.image.source": "https://ghe.test/team/app", "org.opencontainers.image.revision": "0123456789abcdef0123",
		"org.opencontainers.image.version": "1.2.3", "org.opencontainers.image.created": "2026-11-23T01:00:00Z",
	}
	got := s.Annotations("1.2.3", time.Date(2026, 11, 23, 3, 0, 0, 0, time.FixedZone("", 7200)))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got := s.Annotations("", time.Time{}); len(got) != 2 {
		t.Errorf("%v", got)
	}
}

func TestLabels(t *testing.T) {
	s, _ := FromWorkflow(environment(workflow), nil)
	if diff := cmp.Diff([]string{"commit-0123456789ab", "run-42", "actor-octocat"}, s.Labels()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"commit-abc"}, Source{Commit: "abc"}.Labels()); diff != "" {
		t.Error(diff)
	}
	if got := s.Description(); got != "Built from [ghe.test/team/app](https://ghe.test/team/app)." {
		t.Error(got)
	}
}
