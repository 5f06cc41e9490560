package bump_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// registry has the images of the list by reference, with their dates; "down" and "denied" are errors instead.
type registry struct {
	created map[string]string
	mu      sync.Mutex
	asked   []string
}

func (r *registry) answer(ref imageref.Ref) (string, error) {
	r.mu.Lock()
	r.asked = append(r.asked, ref.String())
	r.mu.Unlock()
	said := r.created[ref.String()]
	switch said {
	case "down":
		return "", &fault.Error{What: "reach", Where: ref.Host(), Err: errors.New("connection refused"), Hint: "is it running?"}
	case "denied":
		return "", &fault.Error{Kind: fault.Denied, What: "read", Where: ref.String(), Err: errors.New("it wants a login"), Hint: "log in"}
	}
	return said, nil
}

func (r *registry) Digest(_ context.Context, ref imageref.Ref) (string, error) {
	said, err := r.answer(ref)
	if err == nil && said == "" {
		err = &fault.Error{What: "find", Where: ref.String(), Err: errors.New("no such image")}
	}
	return digestOf(ref.Tag), err
}

func (r *registry) Created(_ context.Context, ref imageref.Ref) (time.Time, error) {
	said, err := r.answer(ref)
	if err != nil || said == "" {
		return time.Time{}, err
	}
	return time.Parse(time.DateOnly, said)
}

// digestOf is the digest of what a tag names in these tests.
func digestOf(tag string) string { return fmt.Sprintf("sha256:%064x", tag) }

func TestResolve(t *testing.T) {
	here := map[string]string{"a:1": "2026-01-01", "b:1": "2026-01-01", "a@" + digestOf("1"): "2026-01-01", "c:1": "denied"}
	pinned := "@" + digestOf("1")
	for _, tt := range []struct {
		pin    bump.Pin
		check  bool
		images string
		want   string // images, or failures
		asked  string
		kind   fault.Kind
	}{
		{pin: "", images: "a:1 x@" + digestOf("9"), want: "a:1 x@" + digestOf("9")},
		{pin: "tag", images: "a:1" + pinned + " old=b:1", want: "a:1 old=b:1"},
		{pin: "digest", images: "a:1 old=b:1 x:2" + pinned, want: "a" + pinned + " old=b" + pinned + " x" + pinned, asked: "a:1 b:1"},
		{pin: "both", images: "a:1 x:2" + pinned, want: "a:1" + pinned + " x:2" + pinned, asked: "a:1"},
		{pin: "both", check: true, images: "a:1", want: "a:1" + pinned, asked: "a:1"},
		{check: true, images: "a:1" + pinned, want: "a:1" + pinned, asked: "a:1 a" + pinned},
		{pin: "tag", check: true, images: "a:1@" + digestOf("9"), want: "a:1", asked: "a:1"},
		{pin: "digest", check: true, images: "a:9" + pinned, want: "a" + pinned, asked: "a" + pinned},
		{check: true, images: "a:1 a2:1 a3:1", want: "a2:1: find a2:1: no such image, a3:1: find a3:1: no such image", asked: "a2:1 a3:1 a:1"},
		{check: true, images: "a:1@" + digestOf("9"), want: "a:1@" + digestOf("9") + ": find a@" + digestOf("9") + ": no such image", asked: "a:1 a@" + digestOf("9")},
		{pin: "digest", images: "a2:1 c:1", want: "a2:1: find a2:1: no such image, c:1: read c:1: it wants a login", asked: "a2:1 c:1", kind: fault.Denied},
	} {
		t.Run(fmt.Sprintf("%s %v %s", tt.pin, tt.check, tt.images), func(t *testing.T) {
			images, err := bump.ParseImages(strings.Fields(tt.images))
			if err != nil {
				t.Fatal(err)
			}
			r := &registry{created: here}
			job := bump.Job{Images: images}
			failures, err := job.Resolve(t.Context(), r, tt.pin, tt.check)
			var got []string
			for _, f := range failures {
				got = append(got, f.Image+": "+f.Err.Error())
			}
			said := strings.Join(got, ", ")
			if err == nil {
				said = strings.Trim(fmt.Sprint(job.Images), "[]")
			}
			slices.Sort(r.asked)
			if said != tt.want || strings.Join(r.asked, " ") != tt.asked || fault.KindOf(err) != tt.kind || (err != nil) != (len(failures) > 0) {
				t.Errorf("%s, %v, asked for %s", said, err, r.asked)
			}
		})
	}
}

func TestPinCheck(t *testing.T) {
	images, _ := bump.ParseImages([]string{"a:1", "b@" + digestOf("1")})
	for pin, part := range map[bump.Pin]string{"": "", "digest": "", "tag": "b@sha256:", "both": "b@sha256:", "all": "not tag, digest or both"} {
		err := pin.Check(images)
		if part == "" && err == nil {
			continue
		}
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), part) || fault.HintOf(err) == "" {
			t.Errorf("%q: %v", pin, err)
		}
	}
}

func TestAges(t *testing.T) {
	for name, tt := range map[string]struct {
		there, ours string
		created     map[string]string
		want        string // what the plan says
		warning     string
	}{
		"older":                       {"app:2", "app:1", map[string]string{"app:2": "2026-01-01", "app:1": "2026-01-02"}, "app:2 -> app:1", ""},
		"newer":                       {"app:1", "app:2", map[string]string{"app:1": "2026-01-02", "app:2": "2026-01-01"}, "newer image already there: 1, made 2026-01-02T00:00:00Z, ours 2026-01-01T00:00:00Z", ""},
		"a date beats a version":      {"app:1.10.0", "app:1.9.1", map[string]string{"app:1.10.0": "2026-01-01", "app:1.9.1": "2026-01-02"}, "app:1.10.0 -> app:1.9.1", ""},
		"the same date, a version":    {"app:1.10.0", "app:1.9.1", map[string]string{"app:1.10.0": "2026-01-01", "app:1.9.1": "2026-01-01"}, "newer image already there: 1.10.0, a later version than 1.9.1", ""},
		"the same date":               {"app:a", "app:b", map[string]string{"app:a": "2026-01-01", "app:b": "2026-01-01"}, "app:a -> app:b", ""},
		"a version":                   {"app:v1.9.0", "app:1.10.0", map[string]string{"app:v1.9.0": "2026-01-01"}, "app:v1.9.0 -> app:1.10.0", ""},
		"a later version":             {"app:v1.10.0", "app:1.9", nil, "newer image already there: v1.10.0, a later version than 1.9", ""},
		"neither":                     {"app:20260101", "app:1.9.0", nil, "app:20260101 -> app:1.9.0", "a.yaml:1 app:20260101 is replaced by 1.9.0, although it may be newer: neither dates nor tags tell"},
		"digests":                     {"app@" + digestOf("1"), "app@" + digestOf("2"), map[string]string{"app@" + digestOf("1"): "2026-01-02", "app@" + digestOf("2"): "2026-01-01"}, "newer image already there: sha256:000000000000, made 2026-01-02T00:00:00Z, ours 2026-01-01T00:00:00Z", ""},
		"down":                        {"app:1.10", "app:1.9", map[string]string{"app:1.10": "down"}, "newer image already there: 1.10, a later version than 1.9", "the age of images is not known, their tags are compared instead: reach docker.io: connection refused; is it running?"},
		"denied":                      {"app:1.8", "app:1.9", map[string]string{"app:1.8": "denied", "app:1.9": "denied"}, "app:1.8 -> app:1.9", "the age of images is not known, their tags are compared instead: read app:1.8: it wants a login; log in"},
		"already ours":                {"app:1", "app:1", map[string]string{"app:1": "asked for nothing"}, "", ""},
		"no version there":            {"app", "app:1", map[string]string{"app": "2026-01-02", "app:1": "2026-01-01"}, "app -> app:1", ""},
		"another repository, renamed": {"old:2.0", "old=app:1.0", map[string]string{"old:2.0": "2026-01-02", "app:1.0": "2026-01-01"}, "old:2.0 -> app:1.0", ""},
	} {
		t.Run(name, func(t *testing.T) {
			images, err := bump.ParseImages([]string{tt.ours})
			if err != nil {
				t.Fatal(err)
			}
			r := &registry{created: tt.created}
			job := bump.Job{Images: images, Ages: bump.NewAges(r)}
			files := tree{"a.yaml": "image: " + tt.there + "\nother: {image: " + tt.there + "}\n"}
			for range 2 { // as after a lost race: the same answer, and nothing is asked again
				plan, err := job.Decide(t.Context(), files.below)
				if err != nil || plan.Err() != nil {
					t.Fatal(err, plan.Err())
				}
				for _, line := range says(plan) {
					if _, said, _ := strings.Cut(strings.TrimPrefix(line, "skipped "), " "); said != tt.want {
						t.Errorf("%s, want %s", said, tt.want)
					}
				}
				var warnings []string
				for _, w := range plan.Warnings {
					warnings = append(warnings, strings.TrimPrefix(fmt.Sprintf("%s:%d %s", w.File, w.Line, w.Text), ":0 "))
				}
				if said := strings.Join(warnings, "\n"); said != tt.warning {
					t.Errorf("warnings %q, want %q", said, tt.warning)
				}
			}
			slices.Sort(r.asked)
			if once := slices.Compact(slices.Clone(r.asked)); len(once) != len(r.asked) {
				t.Errorf("asked again: %v", r.asked)
			}
		})
	}
}

// A registry that is down is asked once, whatever else lies on it; one that denies an image is asked for the others.
func TestAgesAskAHostThatIsDownOnce(t *testing.T) {
	files, created, ours := tree{}, map[string]string{}, []string{}
	for i := range 5 {
		files[fmt.Sprintf("%d.yaml", i)] = fmt.Sprintf("a: {image: down.example.com/app%d:1.0}\nb: {image: denied.example.com/app%[1]d:1.0}\n", i)
		for _, host := range []string{"down", "denied"} {
			created[fmt.Sprintf("%s.example.com/app%d:1.0", host, i)] = host
			created[fmt.Sprintf("%s.example.com/app%d:1.1", host, i)] = host
			ours = append(ours, fmt.Sprintf("%s.example.com/app%d:1.1", host, i))
		}
	}
	images, _ := bump.ParseImages(ours)
	r := &registry{created: created}
	plan, err := bump.Job{Images: images, Ages: bump.NewAges(r)}.Decide(t.Context(), files.below)
	if err != nil || len(plan.Changes) != 10 || len(plan.Warnings) != 2 {
		t.Fatalf("%d changes, %v, %v", len(plan.Changes), plan.Warnings, err)
	}
	asked := map[string]int{}
	for _, ref := range r.asked {
		host, _, _ := strings.Cut(ref, ".")
		asked[host]++
	}
	if diff := cmp.Diff(map[string]int{"down": 1, "denied": 10}, asked); diff != "" {
		t.Error(diff)
	}
}
