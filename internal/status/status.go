// Package status is what a long-running updater knows of the branches that it keeps up to date: values that rounds report and
// that a page, metrics and JSON show.
package status

import "time"

// State is what becomes of a target now.
type State string

// A target waits for its next round, has events that are being gathered, or has a round under way.
const (
	Idle    State = "idle"
	Queued  State = "queued"
	Running State = "running"
)

// Snapshot is everything that is known at one time. Leader is false on a standby: Holder is who writes in its stead.
type Snapshot struct {
	Started time.Time `json:"started"`
	Leader  bool      `json:"leader"`
	Holder  string    `json:"holder,omitempty"`
	Targets []Target  `json:"targets"`
}

// Target is a branch of a repository that is kept up to date. Page is its address on the web, "" when none is known. Last is
// zero before the first round has ended; Whole is when all images were last looked at. Commits are the newest ones, newest
// first; Failures are those of the last round. Diagram is the tree of its applications as SVG, nil when there is none.
type Target struct {
	Name       string    `json:"name"`
	Repository string    `json:"repository"`
	Branch     string    `json:"branch"`
	Page       string    `json:"page,omitempty"`
	State      State     `json:"state"`
	Next       time.Time `json:"next,omitzero"`
	Last       time.Time `json:"last,omitzero"`
	Whole      time.Time `json:"whole,omitzero"`
	Err        string    `json:"error,omitempty"`
	Hint       string    `json:"hint,omitempty"`
	Images     []Image   `json:"images"`
	Commits    []Commit  `json:"commits"`
	Failures   []Failure `json:"failures"`
	Diagram    []byte    `json:"-"`
}

// Image is a repository that a policy governs, with what the policy chose and why. Policy is the policy in words ("semver
// ^1.2"), Origin where it stands ("imgbump.yaml:12"). Newest is "" when no version fits; Err is why none could be chosen.
type Image struct {
	Name    string    `json:"name"`
	Policy  string    `json:"policy"`
	Origin  string    `json:"origin"`
	Newest  string    `json:"newest"`
	Why     string    `json:"why"`
	Err     string    `json:"error,omitempty"`
	Hint    string    `json:"hint,omitempty"`
	Checked time.Time `json:"checked"`
	Places  []Place   `json:"places"`
}

// Place is where a manifest names the image, and in which version. Hold is why it stays so, "" when nothing holds it back.
type Place struct {
	File        string `json:"file"`
	Line        int    `json:"line"`
	Application string `json:"application,omitempty"`
	Current     string `json:"current"`
	Hold        string `json:"hold,omitempty"`
}

// Behind reports whether a place of the image has another version than the newest, and nothing holds it back.
func (i Image) Behind(p Place) bool { return i.Newest != "" && p.Current != i.Newest && p.Hold == "" }

// Commit is one that was published. Page and PullRequest are addresses on the web, "" when there are none. Lag is the time
// from the oldest event that led to it, 0 when polling did.
type Commit struct {
	SHA         string        `json:"sha"`
	Summary     string        `json:"summary"`
	At          time.Time     `json:"at"`
	Page        string        `json:"page,omitempty"`
	PullRequest string        `json:"pull_request,omitempty"`
	Lag         time.Duration `json:"lag_ns,omitempty"`
}

// Failure is something that could not be done. Where is an image or FILE:LINE.
type Failure struct {
	Where string `json:"where"`
	Err   string `json:"error"`
	Hint  string `json:"hint,omitempty"`
}

// Round is what one look at a target came to. Whole says that it was at all images, so that others are gone; Commits are newest
// first, and were published whatever Err says; Err is why the round was given up, so that its Images say nothing. Branch is
// the one that it was at, "" when that is not known.
type Round struct {
	Whole    bool
	Branch   string
	Images   []Image
	Commits  []Commit
	Failures []Failure
	Diagram  []byte
	Err      error
}
