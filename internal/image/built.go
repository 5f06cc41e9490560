package image

import (
	"slices"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Build is one image as its configuration tells of it: for which platform (os/arch[/variant], "" when it does not tell),
// and when it was made (zero when it does not tell).
type Build struct {
	Platform string    `json:"platform"`
	Created  time.Time `json:"created,omitzero"`
}

// Wanted reports whether platform suits one of those that are wanted; with none, every one does.
func Wanted(wanted []string, platform string) bool {
	made, err := v1.ParsePlatform(platform)
	return len(wanted) == 0 || err == nil && slices.ContainsFunc(wanted, func(w string) bool {
		p, err := v1.ParsePlatform(w)
		if err != nil {
			return false
		}
		_, ok := Suits(*made, *p)
		return ok
	})
}

// Builds are the images that the digest stood for, as far as they were wanted for platforms.
func (l *Ledger) Builds(digest string, platforms []string) (builds []Build, ok bool) {
	known, ok := l.known(buildsKey(digest, platforms))
	return known.Builds, ok
}

// NoteBuilds remembers the images that the digest stands for, as far as they are wanted for platforms.
func (l *Ledger) NoteBuilds(digest string, platforms []string, builds []Build) {
	l.note(line{Key: buildsKey(digest, platforms), Builds: builds})
}

func buildsKey(digest string, platforms []string) string {
	return strings.Join(append([]string{"builds", digest}, slices.Sorted(slices.Values(platforms))...), " ")
}

// Fresh reports whether earlier runs left nothing in the ledger.
func (l *Ledger) Fresh() bool {
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	return l.fresh
}
