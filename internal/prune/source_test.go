package prune

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// sourceOf is a source of the files of an archive. A path may be there twice; PATH@COMMIT is one of a commit, PATH -> TARGET
// a link, PATH submodule a submodule.
func sourceOf(archive string) Source {
	return Source{Name: "gitops", Files: func(yield func(File, error) bool) {
		for _, entry := range txtar.Parse([]byte(archive)).Files {
			f := File{}
			data := entry.Data
			name, target, linked := strings.Cut(entry.Name, " -> ")
			if linked {
				f.Type, f.Skip, data = fs.ModeSymlink, "a symbolic link", []byte(target)
			}
			if of, ok := strings.CutSuffix(name, " submodule"); ok {
				f.Type, f.Skip, name = fs.ModeDir, "submodule", of
			}
			f.Path, f.Commit, _ = strings.Cut(name, "@")
			f.Read = func([]byte) ([]byte, error) { return data, nil }
			if !yield(f, nil) {
				return
			}
		}
	}}
}

const zeros = "sha256:0000000000000000000000000000000000000000000000000000000000000000"

// TestNamed says for each form of a manifest what it names of the project team, and where.
func TestNamed(t *testing.T) {
	for name, tt := range map[string]struct {
		archive string
		want    []string // REPOSITORY[:TAG][@DIGEST] FILE:LINE
	}{
		"a Pod": {"-- pod.yaml --\napiVersion: v1\nkind: Pod\nspec:\n  containers:\n  - image: h.test/team/web:1\n  - image: h.test/team/bare\n  - image: h.test/team/pinned@" + zeros + "\n  - image: h.test/teams/other:1\n",
			[]string{"team/web:1 pod.yaml:5", "team/bare:latest pod.yaml:6", "team/pinned@" + zeros + " pod.yaml:7", "@" + zeros + " pod.yaml:7"}},
		"a custom resource without a tag": {"-- db.yaml --\napiVersion: x.test/v1\nkind: DB\nspec: {image: h.test/team/db, release: 15}\n",
			[]string{"team/db db.yaml:3", "team/db/... db.yaml:3"}},
		"kustomize": {"-- kustomization.yaml --\nimages:\n- name: h.test/team/web\n  newTag: v3\n- name: app\n  newName: h.test/team/app\n",
			[]string{"team/web:v3 kustomization.yaml:3", "team/app kustomization.yaml:5", "team/app/... kustomization.yaml:5"}},
		"a Compose file": {"-- docker-compose.yml --\nservices: {web: {image: h.test/team/web:1}}\n",
			[]string{"team/web:1 docker-compose.yml:1"}},
		"the version of a chart": {"-- web/Chart.yaml --\nname: web\nappVersion: \"1.6.0\"\n-- web/values.yaml --\nimage:\n  repository: h.test/team/web\n  tag: \"\"\n",
			[]string{"team/web:1.6.0 web/Chart.yaml:2", "team/web:v1.6.0 web/Chart.yaml:2", "team/web:latest web/values.yaml:3"}},
		"the versions that a chart had": {"-- web/Chart.yaml --\nappVersion: v2\n-- web/values.yaml --\nimage: {repository: h.test/team/web}\n-- web/Chart.yaml@0123456789 --\nappVersion: v1\n",
			[]string{"team/web:v2 web/Chart.yaml:1", "team/web:latest web/values.yaml:1", "team/web:v1 web/Chart.yaml:1 (0123456)"}},
		"a chart in a chart": {"-- web/Chart.yaml --\nappVersion: 1\n-- web/charts/db/Chart.yaml --\nappVersion: 2\n-- web/values.yaml --\ndb: {image: {repository: h.test/team/db}}\n-- webs/Chart.yaml --\nappVersion: 3\n",
			[]string{"team/db:1 web/Chart.yaml:1", "team/db:v1 web/Chart.yaml:1", "team/db:latest web/values.yaml:1", "team/db:2 web/charts/db/Chart.yaml:1", "team/db:v2 web/charts/db/Chart.yaml:1"}},
		"a chart of charts elsewhere": {"-- web/Chart.yaml --\nappVersion: 1\ndependencies: [{name: x}]\n-- web/values.yaml --\nimage: {repository: h.test/team/web}\n",
			[]string{"team/web web/values.yaml:1", "team/web/... web/values.yaml:1"}},
		"values without a chart": {"-- values.yaml --\nimage: {repository: h.test/team/web}\n",
			[]string{"team/web values.yaml:1", "team/web/... values.yaml:1"}},
		"a tag that overrides": {"-- web/Chart.yaml --\nappVersion: 1\n-- web/values.yaml --\nimage: {repository: h.test/team/web, tag: \"2\"}\n-- prod.yaml --\nimage: {tag: \"3\"}\n" +
			"-- app.yaml --\nhelm:\n  parameters:\n  - name: image.tag\n    value: \"4\"\n-- set.yaml --\nargs: --set image.tag=5\n",
			[]string{"team/web:2 web/values.yaml:1", "team/web:3 prod.yaml:1", "team/web:4 app.yaml:4", "team/web:5 set.yaml:1"}},
		"a template": {"-- web/Chart.yaml --\nname: web\n-- web/templates/x.txt --\nimage: h.test/team/web:{{ .Values.tag }}\nimage: h.test/team/app:v{{ .Values.tag }}\nimage: h.test/team/tool:1.2\nimage: h.test/team/x@{{ .d }}\n" +
			"image: h.test/team/{{ .Values.name }}:1\nimage: h.test/team/svc-{{ .Values.name }}:1\nimage: '{{ .Values.registry }}/team/reg:{{ .Values.tag }}'\n# h.test/team/comment\n",
			[]string{"team/web web/templates/x.txt:1", "team/web/... web/templates/x.txt:1", "team/app web/templates/x.txt:2", "team/app/... web/templates/x.txt:2", "team/tool:1.2 web/templates/x.txt:3",
				"team/x web/templates/x.txt:4", "team/x/... web/templates/x.txt:4", "team/... web/templates/x.txt:5", "team/svc-... web/templates/x.txt:6", "team/reg web/templates/x.txt:7", "team/reg/... web/templates/x.txt:7"}},
		"a digest in a text": {"-- x.yaml --\na: run h.test/team/web:1@" + zeros + " now\n",
			[]string{"@" + zeros + " x.yaml:1", "team/web:1@" + zeros + " x.yaml:1"}},
		"a repository and a tag in a ConfigMap": {"-- x.yaml --\nkind: ConfigMap\napiVersion: v1\ndata:\n  REPO: team/web\n  TAG: \"1\"\n",
			[]string{"team/web x.yaml:4", "team/web/... x.yaml:4"}},
		"an ApplicationSet": {"-- x.yaml --\nkind: ApplicationSet\napiVersion: argoproj.io/v1alpha1\nspec:\n  source: {kustomize: {images: ['h.test/team/web:{{tag}}']}}\n",
			[]string{"team/web x.yaml:4", "team/web/... x.yaml:4"}},
		"a registry with the project": {"-- x.yaml --\nregistry: h.test/team\nrepo: oci://h.test/team/charts\n",
			[]string{"team/... x.yaml:1", "team/charts x.yaml:2", "team/charts/... x.yaml:2"}},
		"what is no image": {"-- x.yaml --\nrepoURL: https://github.com/team/app\nssh: git@github.com:team/app\npath: apps/team/web\nup: ../team/web\nregistry.test/team: label\nregistry: steam\n" +
			"-- .github/workflows/ci.yml --\nrun: docker push h.test/team/web:${{ github.sha }}\n-- imgbump.yaml --\nversion: 1\n# h.test/team/web\n", nil},
		"the job of a workflow": {"-- .github/workflows/ci.yml --\njobs:\n  a:\n    container: h.test/team/ci:${{ vars.TAG }}\n",
			[]string{"team/ci .github/workflows/ci.yml:3", "team/ci/... .github/workflows/ci.yml:3"}},
		"what Flux looks for": {"-- x.yaml --\napiVersion: image.toolkit.fluxcd.io/v1beta2\nkind: ImageRepository\nspec: {image: h.test/team/web}\n", nil},
		"a field of imgbump.yaml": {"-- imgbump.yaml --\nversion: 1\nfields: [{file: x.yaml, field: v, image: h.test/team/web}]\n-- x.yaml --\nv: \"7\"\n",
			[]string{"team/web:7 x.yaml:1"}},
		"links": {"-- x.yaml --\na: h.test/team/web:1\n-- link.yaml -> x.yaml --\n-- dir/up -> .. --\n-- to.yaml -> plain --\n-- again -> link.yaml --\n-- plain --\nb: h.test/team/web:2\n-- README -> plain --\n",
			[]string{"team/web:1 x.yaml:1", "team/web:2 to.yaml:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			named, err := sourceOf(tt.archive).Named(t.Context(), "team")
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, ref := range named.References {
				text := ref.Repository
				if ref.Tag != "" {
					text += ":" + ref.Tag
				}
				if ref.Digest != "" {
					text += "@" + ref.Digest
				}
				got = append(got, text+" "+ref.Where)
			}
			slices.Sort(got)
			slices.Sort(tt.want)
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// TestUnread holds that what cannot be read is an error that names it, a handful at most.
func TestUnread(t *testing.T) {
	for archive, want := range map[string]string{
		"-- README --\nteam\n":                                 "there are none",
		"-- a.yaml --\n-- vendor submodule --\n":               "vendor: a submodule",
		"-- a.yaml --\n-- b@0123456789 -> /etc/b --\n":         "b (0123456): a symbolic link that leads out",
		"-- a.yaml --\n-- base/b.yaml -> ../../b --\n":         "base/b.yaml: a symbolic link that leads out",
		"-- a.yaml --\n-- base/b.yaml -> ../c.yaml --\n":       "base/b.yaml: a symbolic link that leads nowhere",
		"-- a.yaml --\nimage: \"team/x\n":                      "a.yaml:2: not valid YAML",
		"-- a.yaml --\n" + strings.Repeat("-- b -> / --\n", 9): strings.Repeat("\nb: a symbolic link that leads out", 5)[1:],
	} {
		_, err := sourceOf(archive).Named(t.Context(), "team")
		if err == nil || !strings.HasPrefix(err.Error(), "read the manifests of gitops: "+want) || strings.Count(err.Error(), "\n") >= maxTold {
			t.Errorf("%q: %v", archive, err)
		}
	}
	broken := errors.New("broken")
	for name, f := range map[string]File{
		"cannot be opened": {File: manifest.File{Path: "a.yaml", Read: func([]byte) ([]byte, error) { return nil, &fs.PathError{Op: "open", Path: "a.yaml", Err: broken} }}},
		"folder":           {File: manifest.File{Path: "a/", Skip: broken.Error()}},
		"pipe":             {File: manifest.File{Path: "a.yaml", Skip: broken.Error(), Type: fs.ModeNamedPipe}},
		"link":             {File: manifest.File{Path: "a", Type: fs.ModeSymlink, Read: func([]byte) ([]byte, error) { return nil, broken }}},
		"configuration":    {File: manifest.File{Path: "imgbump.yaml", Skip: broken.Error()}},
	} {
		s := Source{Files: func(yield func(File, error) bool) { yield(f, nil) }}
		if _, err := s.Named(t.Context(), "team"); err == nil || !strings.HasSuffix(err.Error(), ": broken") {
			t.Errorf("%s: %v", name, err)
		}
	}
	s := Source{Files: func(yield func(File, error) bool) { yield(File{}, broken) }}
	if _, err := s.Named(t.Context(), "team"); !errors.Is(err, broken) {
		t.Error(err)
	}
	ended, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("over"))
	if _, err := sourceOf("-- a.yaml --\n").Named(ended, "team"); err == nil || err.Error() != "over" {
		t.Error(err)
	}
}

// BenchmarkNamed reads 20,000 files of a kilobyte.
func BenchmarkNamed(b *testing.B) {
	data := []byte(strings.Repeat("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: web, labels: {app.kubernetes.io/name: web}}\nspec:\n  template:\n    spec:\n"+
		"      containers:\n      - name: web\n        image: h.test/team/web:1.2.3 # the web\n        imagePullPolicy: Always\n---\n", 5))
	source := Source{Files: func(yield func(File, error) bool) {
		for i := range 20000 {
			f := File{File: manifest.File{Path: fmt.Sprintf("apps/%d.yaml", i), Read: func([]byte) ([]byte, error) { return data, nil }}}
			if !yield(f, nil) {
				return
			}
		}
	}}
	b.SetBytes(int64(20000 * len(data)))
	for b.Loop() {
		if _, err := source.Named(b.Context(), "team"); err != nil {
			b.Fatal(err)
		}
	}
}
