package bump_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
)

func promote(t *testing.T, files tree) (bump.Plan, error) {
	t.Helper()
	return bump.Job{From: "staging", Paths: []string{"prod"}}.Decide(t.Context(), files.below)
}

func TestPromote(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("1", 64)
	for name, tt := range map[string]struct {
		files            tree
		want             []string
		kind             fault.Kind
		onlyFrom, onlyTo int
	}{
		"tags and digests, as FROM has them": {
			files: tree{"staging/a.yaml": pod("app:2", "web:3"+digest), "prod/b.yaml": pod("docker.io/library/app:1", "app:0"+digest, "web:1")},
			want:  []string{"prod/b.yaml:3 docker.io/library/app:1 -> docker.io/library/app:2", "prod/b.yaml:4 app:0" + digest + " -> app:2", "prod/b.yaml:5 web:1 -> web:3" + digest},
		},
		"what only one side names is left alone": {
			files:    tree{"staging/a.yaml": pod("app:2", "redis:8", "redis:9"), "prod/b.yaml": pod("app:1", "nginx:1"), "other/c.yaml": pod("app:1")},
			want:     []string{"prod/b.yaml:3 app:1 -> app:2"},
			onlyFrom: 1, onlyTo: 1,
		},
		"promoted already": {files: tree{"staging/a.yaml": pod("app:2"), "prod/b.yaml": pod("app:2")}},
		"what a kustomization of FROM overrides does not run": {
			files: tree{
				"staging/kustomization.yaml": "resources: [a.yaml]\nimages: [{name: app, newTag: '3'}]\n",
				"staging/a.yaml":             pod("app:2"), "prod/b.yaml": pod("app:1"),
			},
			want: []string{"prod/b.yaml:3 app:1 -> app:3"},
		},
		"no version in FROM": {
			files: tree{"staging/a.yaml": pod("app", "web:2"), "prod/b.yaml": pod("app:1", "web:1")},
			want:  []string{"prod/b.yaml:4 web:1 -> web:2"}, onlyTo: 1,
		},
		"a broken file in FROM": {
			files: tree{"staging/a.yaml": "image: [\n", "staging/b.yaml": pod("app:2"), "prod/b.yaml": pod("app:1")},
			want:  []string{"prod/b.yaml:3 app:1 -> app:2", "failed read staging/a.yaml:1: not valid YAML: did not find expected node content"},
			kind:  fault.Partial,
		},
		"nothing in common": {
			files: tree{"staging/a.yaml": pod("app:2"), "prod/b.yaml": pod("apps:1")},
			want:  []string{"failed staging and prod name no image in common"},
			kind:  fault.Missing, onlyFrom: 1, onlyTo: 1,
		},
		"nothing at all": {files: tree{}, want: []string{"failed staging and prod name no image in common"}, kind: fault.Missing},
	} {
		t.Run(name, func(t *testing.T) {
			plan, err := promote(t, tt.files)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tt.want, says(plan)); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if err := plan.Err(); (err != nil) != (tt.kind != fault.Failed) || err != nil && fault.KindOf(err) != tt.kind {
				t.Errorf("Err() = %v of kind %v, want kind %v", err, fault.KindOf(err), tt.kind)
			}
			if plan.OnlyFrom != tt.onlyFrom || plan.OnlyTo != tt.onlyTo {
				t.Errorf("left alone: %d and %d, want %d and %d", plan.OnlyFrom, plan.OnlyTo, tt.onlyFrom, tt.onlyTo)
			}
			for _, c := range plan.Changes {
				if !strings.HasPrefix(c.Why, "promoted from staging/") {
					t.Errorf("why: %s", c.Why)
				}
			}
		})
	}
}

func TestPromoteOfTwoVersions(t *testing.T) {
	_, err := promote(t, tree{"staging/a.yaml": pod("app:2"), "staging/b.yaml": pod("app:3"), "prod/b.yaml": pod("app:1")})
	want := "which one is to be promoted? staging/a.yaml:3 names app:2, staging/b.yaml:3 names app:3"
	if fault.KindOf(err) != fault.Usage || err.Error() != want {
		t.Errorf("got %v", err)
	}
}

// TestPromoteDecidesAgain holds that FROM is read from the tip that is decided on, each time.
func TestPromoteDecidesAgain(t *testing.T) {
	b := &branch{
		tips:   []tree{{"staging/a.yaml": pod("app:2"), "prod/b.yaml": pod("app:1")}},
		others: []tree{{"staging/a.yaml": pod("app:3"), "prod/b.yaml": pod("app:1")}},
	}
	job := bump.Job{From: "staging", Paths: []string{"prod"}}
	result, err := job.Commit(t.Context(), b, bump.Committing{Lost: func(int, error) {}})
	if err != nil || len(result.Commits) != 1 || b.at(result.Commits[0].SHA)["prod/b.yaml"] != pod("app:3") {
		t.Errorf("%+v, %v", result, err)
	}
}
