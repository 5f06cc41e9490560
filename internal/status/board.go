package status

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// kept is how many commits a target remembers.
const kept = 50

// Board keeps the newest status of all targets. It is safe for concurrent use.
type Board struct {
	mu      sync.Mutex
	now     Snapshot
	changed chan struct{}
}

// NewBoard is a board of targets of which nothing is known yet but where they are.
func NewBoard(started time.Time, targets ...Target) *Board {
	targets = listed(slices.Clone(targets))
	for i, t := range targets {
		targets[i].State = cmp.Or(t.State, Idle)
		targets[i].Images, targets[i].Commits, targets[i].Failures = images(t.Images), listed(t.Commits), listed(t.Failures)
	}
	return &Board{now: Snapshot{Started: started, Leader: true, Targets: targets}, changed: make(chan struct{})}
}

// Snapshot is what is known now, and a channel that is closed when that changes. It stays as it is; its lists are shared with
// other readers, and not to be changed.
func (b *Board) Snapshot() (Snapshot, <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s := b.now
	s.Targets = slices.Clone(s.Targets)
	return s, b.changed
}

// Lead notes who writes: this replica, or holder.
func (b *Board) Lead(leads bool, holder string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.now.Leader, b.now.Holder = leads, holder
	b.wake()
}

// Mark notes what becomes of the target, and when its next round is due.
func (b *Board) Mark(target string, state State, next time.Time) {
	b.change(target, func(t *Target) { t.State, t.Next = state, next })
}

// Record notes what a round of the target came to that ended at a time. One that was given up leaves the images as they were
// known; one that was not at all of them leaves the others.
func (b *Board) Record(target string, at time.Time, r Round) {
	b.change(target, func(t *Target) {
		t.Last, t.Err, t.Hint, t.Failures = at, "", "", listed(slices.Clone(r.Failures))
		t.Branch = cmp.Or(r.Branch, t.Branch)
		t.Commits = slices.Concat(r.Commits, t.Commits)
		t.Commits = listed(t.Commits[:min(len(t.Commits), kept)])
		switch {
		case r.Err != nil:
			t.Err, t.Hint = r.Err.Error(), fault.HintOf(r.Err)
		case r.Whole:
			t.Whole, t.Images, t.Diagram = at, images(r.Images), r.Diagram
		default:
			t.Images = merged(t.Images, images(r.Images))
		}
	})
}

// merged are the images with the newer ones in place of those of the same names.
func merged(images, newer []Image) []Image {
	names := map[string]bool{}
	for _, n := range newer {
		names[n.Name] = true
	}
	images = slices.DeleteFunc(slices.Clone(images), func(i Image) bool { return names[i.Name] })
	images = append(images, newer...)
	slices.SortStableFunc(images, func(a, b Image) int { return cmp.Compare(a.Name, b.Name) })
	return images
}

// images is a copy of a list of images, none of whose lists is nil.
func images(list []Image) []Image {
	list = listed(slices.Clone(list))
	for i := range list {
		list[i].Places = listed(list[i].Places)
	}
	return list
}

// listed is the list, empty instead of nil: JSON has it as [], not as null.
func listed[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}

// change changes the target of that name, if there is one, and wakes those who wait for a change.
func (b *Board) change(target string, do func(*Target)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if i := slices.IndexFunc(b.now.Targets, func(t Target) bool { return t.Name == target }); i >= 0 {
		do(&b.now.Targets[i])
		b.wake()
	}
}

func (b *Board) wake() {
	close(b.changed)
	b.changed = make(chan struct{})
}
