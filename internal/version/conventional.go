package version

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/Masterminds/semver/v3"
)

// header is the first line of a message (conventionalcommits.org/en/v1.0.0, items 1 to 6 and 13).
var header = regexp.MustCompile(`^([A-Za-z]+)(\([^()\n]+\))?(!?): \S`)

// breaking is a footer that tells of a breaking change (items 11, 12 and 16).
var breaking = regexp.MustCompile(`(?m)^BREAKING[ -]CHANGE: `)

// wanted is the bump that a commit's message asks for; explicit is false when it does not follow the convention.
func wanted(message string) (bump Bump, explicit bool) {
	parts := header.FindStringSubmatch(message)
	switch {
	case parts == nil:
		return Patch, false
	case parts[3] == "!" || breaking.MatchString(message):
		return Major, true
	case strings.EqualFold(parts[1], "feat"):
		return Minor, true
	}
	return Patch, true
}

// decide says which bump follows a version and why: the one asked for, or with Auto the greatest that a commit wants. In
// front of 1.0.0 a breaking change raises the minor version, since nothing is stable yet (semver.org, item 4).
func decide(bump Bump, last *semver.Version, commits []string) (Bump, string) {
	if bump != Auto {
		return bump, fmt.Sprintf("%s after %s", bump, last)
	}
	greatest, because := Patch, ""
	rank := map[Bump]int{Patch: 0, Minor: 1, Major: 2}
	for _, message := range commits {
		b, explicit := wanted(message)
		if !explicit || because != "" && rank[b] <= rank[greatest] {
			continue
		}
		greatest = b
		because, _, _ = strings.Cut(message, "\n")
	}
	why := fmt.Sprintf("%d commits since %s", len(commits), last)
	if len(commits) == 1 {
		why = fmt.Sprintf("1 commit since %s", last)
	}
	if because == "" {
		return Patch, why + ", none of which says feat or fix"
	}
	why += fmt.Sprintf(", the greatest of which is %q", because)
	if greatest == Major && last.Major() == 0 {
		return Minor, why + ": a breaking change before 1.0.0"
	}
	return greatest, why
}
