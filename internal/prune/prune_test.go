package prune

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/retention"
)

func digest(name string) string { return fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(name))) }

// shelf is a registry with images by repository and name. What stands in its way is by call, or by the name of an image.
type shelf struct {
	images  map[string]map[string]retention.Artifact
	hidden  []string // names that are there and not listed
	errs    map[string]error
	asked   []string          // digests, by name
	deleted []string          // by name
	retag   map[string]string // by name: the tag that it got meanwhile
}

// newShelf holds images that are written REPOSITORY NAME DAYS [TAG] [+CHILD].
func newShelf(lines ...string) *shelf {
	s := &shelf{images: map[string]map[string]retention.Artifact{}, errs: map[string]error{}, retag: map[string]string{}}
	for _, line := range lines {
		var repository, name string
		var days int
		fmt.Sscan(line, &repository, &name, &days)
		a := retention.Artifact{Digest: digest(name), Pushed: time.Unix(1_800_000_000, 0).AddDate(0, 0, -days)}
		for _, word := range strings.Fields(line)[3:] {
			if child, ok := strings.CutPrefix(word, "+"); ok {
				a.Children = append(a.Children, digest(child))
			} else {
				a.Tags = append(a.Tags, retention.Tag{Name: word})
			}
		}
		if s.images[repository] == nil {
			s.images[repository] = map[string]retention.Artifact{}
		}
		s.images[repository][name] = a
	}
	return s
}

func (s *shelf) Repositories(_ context.Context, project string) ([]string, error) {
	return slices.Collect(maps.Keys(s.images)), s.errs["repositories"]
}

func (s *shelf) Artifacts(_ context.Context, repository string) ([]retention.Artifact, error) {
	return slices.Collect(maps.Values(s.images[repository])), s.errs["artifacts"]
}

func (s *shelf) Artifact(_ context.Context, repository, wanted string) (retention.Artifact, bool, error) {
	for _, name := range s.hidden {
		if digest(name) == wanted {
			return retention.Artifact{Digest: wanted}, true, nil
		}
	}
	for name, a := range s.images[repository] {
		if a.Digest == wanted {
			s.asked = append(s.asked, name)
			if tag := s.retag[name]; tag != "" {
				a.Tags = append(slices.Clone(a.Tags), retention.Tag{Name: tag})
			}
			return a, true, s.errs["ask "+name]
		}
	}
	return retention.Artifact{}, false, s.errs["artifact"]
}

func (s *shelf) Exists(_ context.Context, project, repository string) error {
	return s.errs["exists "+project+" "+repository]
}

func (s *shelf) Delete(_ context.Context, repository, wanted string) error {
	for name, a := range s.images[repository] {
		if a.Digest != wanted {
			continue
		}
		if err := s.errs[name]; err != nil {
			return err
		}
		s.deleted = append(s.deleted, name)
		delete(s.images[repository], name)
		return nil
	}
	return nil // gone with its index
}

// told is a job that keeps what it says.
func told(j Job) (Job, *[]string) {
	var lines []string
	say := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	j.Progressf, j.Detailf, j.Warnf = say, func(string, ...any) {}, say
	return j, &lines
}

func TestRun(t *testing.T) {
	stock := []string{"team/web new 1 2", "team/web old 9 1", "team/web index 5 multi +child", "team/web child 5 c", "team/app only 3 1"}
	last := retention.Rules{Last: 1}
	for name, tt := range map[string]struct {
		job     Job
		change  func(*shelf)
		deleted []string          // in this order
		kept    map[string]string // why, by name
		err     string
		kind    fault.Kind
	}{
		"only told":         {job: Job{Rules: last}},
		"applied":           {job: Job{Rules: last, Apply: true}, deleted: []string{"index", "child", "old"}},
		"one repository":    {job: Job{Rules: last, Repository: "team/app", Apply: true}},
		"referenced":        {job: Job{Rules: last, Apply: true, Sources: []Source{sourceOf("-- a.yaml --\na: h/team/web:1\n"), sourceOf("-- b.yaml --\nb: h/team/web:multi\n")}}, kept: map[string]string{"old": "tag 1 is named by a.yaml:1"}},
		"the repository":    {job: Job{Rules: last, Apply: true, Sources: []Source{sourceOf("-- a.yaml --\na: h.test/team/web:$TAG\n")}}, kept: map[string]string{"old": "the repository is named without a tag by a.yaml:1"}},
		"unread":            {job: Job{Rules: last, Apply: true, Sources: []Source{sourceOf("-- README --\n")}}, err: "there are none"},
		"what is hidden":    {job: Job{Rules: last, Apply: true, Sources: []Source{sourceOf("-- a.yaml --\na: h/team/web@" + digest("leaf") + "\n")}}, change: func(s *shelf) { s.hidden = []string{"leaf"} }, deleted: []string{"old"}},
		"what is not there": {job: Job{Rules: last, Apply: true, Sources: []Source{sourceOf("-- a.yaml --\na: h/team/web@" + digest("nosuch") + "\n")}}, deleted: []string{"index", "child", "old"}},
		"not told of it":    {job: Job{Rules: last, Apply: true, Sources: []Source{sourceOf("-- a.yaml --\na: h/team/web@" + digest("nosuch") + "\n")}}, change: func(s *shelf) { s.errs["artifact"] = errors.New("down") }, err: "down"},
		"tagged meanwhile":  {job: Job{Rules: last, Apply: true}, change: func(s *shelf) { s.retag["old"] = "prod" }, deleted: []string{"index", "child"}, kept: map[string]string{"old": "it was tagged prod meanwhile"}},
		"held":              {job: Job{Rules: last, Apply: true}, change: func(s *shelf) { s.errs["child"] = ErrHeld }, deleted: []string{"index", "old"}, kept: map[string]string{"child": "an index that stays refers to it"}},
		"one refused":       {job: Job{Rules: last, Apply: true}, change: func(s *shelf) { s.errs["index"] = fmt.Errorf("busy: %w", ErrRefused) }, deleted: []string{"child", "old"}, err: "2 of 3 removed: busy: the registry refuses this one", kind: fault.Partial},
		"not allowed":       {job: Job{Rules: last, Apply: true}, change: func(s *shelf) { s.errs["index"] = &fault.Error{Kind: fault.Denied, Err: errors.New("no")} }, err: "no", kind: fault.Denied},
		"down meanwhile":    {job: Job{Rules: last, Apply: true}, change: func(s *shelf) { s.errs["ask child"] = errors.New("down") }, deleted: []string{"index"}, err: "1 of 3 removed: down", kind: fault.Partial},
		"no list":           {job: Job{Rules: last, Apply: true}, change: func(s *shelf) { s.errs["repositories"] = errors.New("down") }, err: "down"},
		"no images":         {job: Job{Rules: last, Apply: true}, change: func(s *shelf) { s.errs["artifacts"] = errors.New("down") }, err: "down"},
		"misspelled":        {job: Job{Rules: last, Repository: "team/x"}, change: func(s *shelf) { s.errs["exists team team/x"] = errors.New("no such repository") }, err: "no such repository"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newShelf(stock...)
			if tt.change != nil {
				tt.change(s)
			}
			tt.job.Project = "team"
			job, _ := told(tt.job)
			result, err := job.Run(t.Context(), s)
			err = result.Partial(err)
			if fmt.Sprint(err) != tt.err && !(err == nil && tt.err == "") && !strings.HasSuffix(fmt.Sprint(err), tt.err) || tt.err == "" != (err == nil) || err != nil && fault.KindOf(err) != tt.kind {
				t.Errorf("%v of kind %d", err, fault.KindOf(err))
			}
			if diff := cmp.Diff(tt.deleted, s.deleted); diff != "" {
				t.Errorf("deleted: -want +got:\n%s", diff)
			}
			if result.Removed != len(tt.deleted) {
				t.Errorf("%d removed", result.Removed)
			}
			for _, o := range result.Outcomes {
				for name, why := range tt.kept {
					if o.Digest == digest(name) && (!o.Keep || o.Gone || o.Why != why) {
						t.Errorf("%s: %+v", name, o)
					}
				}
			}
		})
	}
}

// TestRunTells who was removed, and why somebody was not.
func TestRunTells(t *testing.T) {
	s := newShelf("team/web new 1 2", "team/web old 9 1", "team/web older 10")
	s.retag["old"] = "prod"
	job, lines := told(Job{Project: "team", Apply: true, Rules: retention.Rules{Last: 1}, Sources: []Source{sourceOf("-- a.yaml --\na: h.test/team/app:1\n")}})
	if _, err := job.Run(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	want := []string{"gitops: 1 files name 1 images and digests", "team/web@" + digest("old") + " stays: it was tagged prod meanwhile", "removed team/web@" + digest("older") + " (no tag)"}
	if diff := cmp.Diff(want, *lines); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}
