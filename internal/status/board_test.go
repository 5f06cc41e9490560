package status_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/status"
)

var start = time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)

func board() *status.Board {
	return status.NewBoard(start, status.Target{Name: "prod", Repository: "https://git.example/gitops", Branch: "main"}, status.Target{Name: "test", State: status.Queued})
}

func prod(b *status.Board) status.Target {
	s, _ := b.Snapshot()
	return s.Targets[0]
}

func image(name, newest string) status.Image {
	return status.Image{Name: name, Newest: newest, Places: []status.Place{{File: "a.yaml", Line: 3, Current: "1"}}}
}

func newest(t status.Target) string {
	var all []string
	for _, i := range t.Images {
		all = append(all, i.Name+"="+i.Newest)
	}
	return strings.Join(all, " ")
}

func TestJSON(t *testing.T) {
	b := board()
	s, _ := b.Snapshot()
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"started":"2026-03-04T05:06:07Z","leader":true,"targets":[` +
		`{"name":"prod","repository":"https://git.example/gitops","branch":"main","state":"idle","images":[],"commits":[],"failures":[]},` +
		`{"name":"test","repository":"","branch":"","state":"queued","images":[],"commits":[],"failures":[]}]}`
	if diff := cmp.Diff(want, string(data)); diff != "" {
		t.Error(diff)
	}
	b.Record("prod", start, status.Round{Whole: true, Images: []status.Image{{Name: "a"}}, Commits: []status.Commit{{SHA: "c"}}, Diagram: []byte("<svg/>")})
	b.Record("prod", start, status.Round{Images: []status.Image{{Name: "b"}}})
	b.Record("test", start, status.Round{Whole: true, Err: errors.New("refused")})
	for _, s := range []status.Snapshot{snapshot(b), snapshot(status.NewBoard(start))} {
		data, err := json.Marshal(s)
		if err != nil {
			t.Fatal(err)
		}
		if text := string(data); strings.Contains(text, "null") || strings.Contains(text, "svg") {
			t.Errorf("%s: a list is null, or a picture in it", text)
		}
	}
}

func snapshot(b *status.Board) status.Snapshot {
	s, _ := b.Snapshot()
	return s
}

// A whole round says which images there are, another one only what it looked at; one that was given up says nothing of them.
func TestImages(t *testing.T) {
	b := board()
	record := func(r status.Round, want string) {
		t.Helper()
		b.Record("prod", start, r)
		if got := newest(prod(b)); got != want {
			t.Errorf("the images are %q, want %q", got, want)
		}
	}
	record(status.Round{Whole: true, Err: errors.New("refused"), Images: []status.Image{image("x", "0")}}, "")
	record(status.Round{Whole: true, Images: []status.Image{image("b", "1"), image("d", "1"), image("b", "2")}}, "b=1 d=1 b=2")
	record(status.Round{Images: []status.Image{image("d", "2")}}, "b=1 b=2 d=2")
	record(status.Round{Images: []status.Image{image("b", "3"), image("a", "1")}}, "a=1 b=3 d=2")
	record(status.Round{Err: errors.New("refused"), Images: []status.Image{image("d", "9")}}, "a=1 b=3 d=2")
	record(status.Round{}, "a=1 b=3 d=2")
	record(status.Round{Whole: true, Images: []status.Image{image("d", "3")}}, "d=3")
	record(status.Round{Whole: true}, "")
}

func TestRecord(t *testing.T) {
	b := board()
	b.Record("prod", start.Add(1), status.Round{Whole: true, Diagram: []byte("1"), Commits: []status.Commit{{SHA: "2"}, {SHA: "1"}}, Failures: []status.Failure{{Where: "x"}}})
	refused := &fault.Error{What: "push", Hint: "log in", Err: errors.New("refused")}
	b.Record("prod", start.Add(2), status.Round{Whole: true, Err: refused, Commits: []status.Commit{{SHA: "3"}}})
	want := status.Target{
		Name: "prod", Repository: "https://git.example/gitops", Branch: "main", State: status.Idle, Last: start.Add(2), Whole: start.Add(1),
		Err: "push: refused", Hint: "log in", Images: []status.Image{}, Commits: []status.Commit{{SHA: "3"}, {SHA: "2"}, {SHA: "1"}}, Failures: []status.Failure{}, Diagram: []byte("1"),
	}
	if diff := cmp.Diff(want, prod(b)); diff != "" {
		t.Errorf("after a failure (-want +got):\n%s", diff)
	}
	b.Record("prod", start.Add(3), status.Round{Diagram: []byte("2")})
	want.Last, want.Err, want.Hint = start.Add(3), "", ""
	if diff := cmp.Diff(want, prod(b)); diff != "" {
		t.Errorf("after a round of some images (-want +got):\n%s", diff)
	}
	for n := range 60 {
		b.Record("prod", start, status.Round{Commits: []status.Commit{{SHA: fmt.Sprint(n)}}})
	}
	if c := prod(b).Commits; len(c) != 50 || c[0].SHA != "59" || c[49].SHA != "10" {
		t.Errorf("of 63 commits %d are kept, from %s on", len(c), c[0].SHA)
	}
	b.Mark("prod", status.Running, start.Add(time.Hour))
	if p := prod(b); p.State != status.Running || !p.Next.Equal(start.Add(time.Hour)) {
		t.Errorf("it is %s until %s", p.State, p.Next)
	}
	b.Lead(false, "other")
	if s := snapshot(b); s.Leader || s.Holder != "other" {
		t.Errorf("leader %v, holder %s", s.Leader, s.Holder)
	}
}

// What somebody was shown stays as it is, and what somebody reported is his own again.
func TestSnapshotStays(t *testing.T) {
	targets := []status.Target{{Name: "prod"}}
	b := status.NewBoard(start, targets...)
	if targets[0].State != "" {
		t.Error("the caller's targets were changed")
	}
	r := status.Round{
		Whole: true, Images: []status.Image{image("a", "1"), image("b", "1"), {Name: "c"}},
		Commits: make([]status.Commit, 1, 100), Failures: []status.Failure{{Where: "x"}},
	}
	b.Record("prod", start, r)
	before := prod(b)
	text := fmt.Sprintf("%+v", before)
	if r.Images[2].Places != nil {
		t.Error("the round's images were changed")
	}
	r.Images[0].Newest, r.Commits[0].SHA, r.Failures[0].Where = "mine", "mine", "mine"
	if got := fmt.Sprintf("%+v", prod(b)); got != text {
		t.Errorf("the board follows what became of the round: %s", got)
	}
	all := snapshot(b)
	b.Record("prod", start.Add(1), status.Round{Images: []status.Image{image("a", "2")}, Commits: []status.Commit{{SHA: "1"}}})
	b.Record("prod", start.Add(2), status.Round{Whole: true, Images: []status.Image{image("b", "3")}, Err: errors.New("refused")})
	b.Mark("prod", status.Running, start)
	if got := fmt.Sprintf("%+v", all.Targets[0]); got != text {
		t.Errorf("a snapshot became %s", got)
	}
}

// Who waits for a change is woken by each, and by nothing else.
func TestChanges(t *testing.T) {
	b := board()
	changed := func(do func()) bool {
		_, changed := b.Snapshot()
		do()
		select {
		case <-changed:
			return true
		default:
			return false
		}
	}
	for name, do := range map[string]func(){
		"a mark": func() { b.Mark("prod", status.Running, start) }, "a round": func() { b.Record("test", start, status.Round{}) }, "the lead": func() { b.Lead(true, "") },
	} {
		if !changed(do) {
			t.Errorf("%s wakes nobody", name)
		}
	}
	if changed(func() { b.Mark("other", status.Running, start); b.Record("other", start, status.Round{}) }) {
		t.Error("what is unknown changes something")
	}
}

func TestConcurrentUse(t *testing.T) {
	b := board()
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			for n := range 100 {
				b.Record("prod", start, status.Round{Whole: n%3 == 0, Images: []status.Image{image(fmt.Sprint(i), fmt.Sprint(n)), {Name: "x"}}, Commits: []status.Commit{{}}})
				b.Mark("prod", status.Running, start)
				b.Lead(true, "")
				s, _ := b.Snapshot()
				if _, err := json.Marshal(s); err != nil || slices.ContainsFunc(s.Targets[0].Images, func(i status.Image) bool { return i.Places == nil }) {
					t.Errorf("%v, %+v", err, s)
				}
			}
		})
	}
	all.Wait()
}
