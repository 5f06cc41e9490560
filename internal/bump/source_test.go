package bump_test

import (
	"io/fs"
	"iter"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

const holdApp = "version: 1\nimages: [{name: app, hold: wait}]\n"

// TestHeldOnTheNewTip: the configuration is that of the tip that is decided on, after a lost race too.
func TestHeldOnTheNewTip(t *testing.T) {
	start := tree{"a.yaml": "image: app:1\n"}
	b := &branch{tips: []tree{start}, others: []tree{{"a.yaml": "image: app:1\n", "imgbump.yaml": holdApp}}}
	images, _ := bump.ParseImages([]string{"app:2"})
	result, err := bump.Job{Images: images}.Commit(t.Context(), b, bump.Committing{Lost: func(int, error) {}})
	if err != nil || len(result.Commits) != 0 {
		t.Fatalf("%+v, %v", result.Commits, err)
	}
	if diff := cmp.Diff([]string{"skipped a.yaml:1 held: wait (imgbump.yaml:2)"}, says(result.Plan)); diff != "" {
		t.Error(diff)
	}
}

func TestListKnowsHolds(t *testing.T) {
	l, err := bump.Job{}.List(t.Context(), tree{"a.yaml": "image: app:1\n", "imgbump.yaml": holdApp}.below)
	if err != nil || len(l.Sites) != 1 || l.Sites[0].Hold != "wait (imgbump.yaml:2)" {
		t.Errorf("%+v, %v", l.Sites, err)
	}
}

// TestConfigurationThatCannotBeRead ends the run before anything is decided.
func TestConfigurationThatCannotBeRead(t *testing.T) {
	for name, tt := range map[string]struct {
		file manifest.File
		kind fault.Kind
		part string
	}{
		"link":    {manifest.File{Skip: "symbolic link"}, fault.Usage, "read imgbump.yaml: symbolic link"},
		"denied":  {manifest.File{Read: failing(syscall.EACCES)}, fault.Failed, "read imgbump.yaml: permission denied"},
		"invalid": {manifest.File{Read: func([]byte) ([]byte, error) { return []byte("version: 1\nx: 1"), nil }}, fault.Usage, "imgbump.yaml:2: unknown key x"},
	} {
		t.Run(name, func(t *testing.T) {
			files := func([]string) iter.Seq2[manifest.File, error] {
				return func(yield func(manifest.File, error) bool) { yield(tt.file, nil) }
			}
			_, err := bump.Job{}.Decide(t.Context(), files)
			if fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.part) {
				t.Errorf("%v of kind %v", err, fault.KindOf(err))
			}
		})
	}
}

func failing(err error) func([]byte) ([]byte, error) {
	return func([]byte) ([]byte, error) { return nil, err }
}

// TestUnreadable: what may not be read is skipped with the reason; a disk that fails is a failure.
func TestUnreadable(t *testing.T) {
	files := func(under []string) iter.Seq2[manifest.File, error] {
		return func(yield func(manifest.File, error) bool) {
			if len(under) > 0 {
				yield(manifest.File{}, fs.ErrNotExist) // imgbump.yaml
				return
			}
			_ = yield(manifest.File{Path: "a.yaml", Read: failing(&fs.PathError{Op: "read", Path: "a.yaml", Err: syscall.EACCES})}, nil) &&
				yield(manifest.File{Path: "b.yaml", Read: failing(syscall.EIO)}, nil) &&
				yield(manifest.File{Path: "c.yaml", Read: func([]byte) ([]byte, error) { return []byte("image: app:1\n\x00"), nil }}, nil) &&
				yield(manifest.File{Path: "d/", Skip: "cannot be read: permission denied"}, nil) &&
				yield(manifest.File{Path: "e.txt", Skip: "symbolic link"}, nil)
		}
	}
	images, _ := bump.ParseImages([]string{"app:2"})
	plan, err := bump.Job{Images: images}.Decide(t.Context(), files)
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"skipped d/:0 cannot be read: permission denied", "skipped a.yaml:0 permission denied", "skipped c.yaml:0 not text: it holds NUL bytes",
		"failed read b.yaml: input/output error", "failed no manifest names app",
	}
	if diff := cmp.Diff(want, says(plan)); diff != "" {
		t.Error(diff)
	}
}
