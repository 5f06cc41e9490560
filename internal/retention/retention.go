// Package retention decides which images of a repository stay and which go, each with its why. It does no I/O.
//
// The rules only ever add to what stays. What holds others together stays with them: the images of an index, the index
// that an image without a tag would go with, and signatures beside what they sign.
package retention

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/timespan"
)

// Artifact is an image or an index. Children are the digests that an index refers to; those without a tag, and the
// Accessories (signatures, attestations), are no artifacts of their own: they go with this one.
type Artifact struct {
	Digest      string
	Tags        []Tag
	Pushed      time.Time
	Size        int64 // in bytes
	Children    []string
	Accessories []string
}

// Tag is a name of an artifact. The registry deletes no artifact with an immutable tag.
type Tag struct {
	Name      string
	Pushed    time.Time
	Immutable bool
}

// Repository is the artifacts of one repository, in any order. Hidden are digests that are in the repository, though no
// artifact shows them: somewhere inside of another.
type Repository struct {
	Name      string // PROJECT/NAME
	Artifacts []Artifact
	Hidden    []string
}

// Reference is an image that a manifest names, by tag or digest; Where is the place. Without a Repository its digest
// counts in all of them. Without tag and digest it stands for all images of the repository, since one of them is meant.
type Reference struct {
	Repository  string // PROJECT/NAME; NAME... for all repositories that begin so
	Tag, Digest string
	Where       string
}

// Any is what ends a Reference's repository when it is only how the names begin.
const Any = "..."

// Names reports whether the reference is about a repository.
func (r Reference) Names(repository string) bool {
	if beginning, open := strings.CutSuffix(r.Repository, Any); open {
		return strings.HasPrefix(repository, beginning)
	}
	return r.Repository == "" || r.Repository == repository
}

// Rules say what stays; each one alone is reason enough. The zero value lets everything go.
type Rules struct {
	Last       int           // the newest of each repository, by when they were pushed
	Within     time.Duration // those pushed, or given a tag, so long before Now
	Now        time.Time
	Tags       []string // those with a tag like one of these patterns (path.Match)
	Semver     bool     // the one with the highest version among its tags
	References []Reference
}

// Check refuses patterns that nothing can match.
func (r Rules) Check() error {
	for _, pattern := range r.Tags {
		if _, err := path.Match(pattern, ""); err != nil || pattern == "" {
			return fmt.Errorf("%q is no pattern for tags", pattern)
		}
	}
	return nil
}

// Decision is what becomes of an artifact.
type Decision struct {
	Artifact
	Keep bool
	Why  string
}

// Decide judges each artifact of a repository. The decisions come newest first, whatever the order of the artifacts.
func (r Rules) Decide(repository Repository) []Decision {
	artifacts := slices.Clone(repository.Artifacts)
	slices.SortFunc(artifacts, func(a, b Artifact) int {
		if by := b.Pushed.Compare(a.Pushed); by != 0 {
			return by
		}
		return strings.Compare(a.Digest, b.Digest)
	})
	j := judgement{rules: r, artifacts: artifacts, byDigest: map[string]Artifact{}, holders: holders(artifacts), why: map[string][]string{}}
	for _, a := range artifacts {
		j.byDigest[a.Digest] = a
	}
	j.byRule()
	j.byReference(repository)
	j.together()
	decisions := make([]Decision, len(artifacts))
	for i, a := range artifacts {
		reasons := j.why[a.Digest]
		decisions[i] = Decision{Artifact: a, Keep: len(reasons) > 0, Why: strings.Join(reasons, "; ")}
		if len(reasons) == 0 {
			decisions[i].Why = "no rule keeps it"
		}
	}
	return decisions
}

// judgement collects why artifacts stay.
type judgement struct {
	rules     Rules
	artifacts []Artifact // newest first
	byDigest  map[string]Artifact
	holders   map[string][]Artifact
	why       map[string][]string // by digest
}

// holders are the indexes that refer to each digest.
func holders(artifacts []Artifact) map[string][]Artifact {
	found := map[string][]Artifact{}
	for _, a := range artifacts {
		for _, child := range a.Children {
			found[child] = append(found[child], a)
		}
	}
	return found
}

func (j *judgement) keep(a Artifact, format string, args ...any) {
	if why := fmt.Sprintf(format, args...); !slices.Contains(j.why[a.Digest], why) {
		j.why[a.Digest] = append(j.why[a.Digest], why)
	}
}

func (j *judgement) keeps(digest string) bool { return len(j.why[digest]) > 0 }

// byRule applies what the rules say of tags, versions and ages, manifests aside. What is attached to another image is none
// of the newest: it goes by that image.
func (j *judgement) byRule() {
	newest, highest := j.highest()
	rank := 0
	for _, a := range j.artifacts {
		for _, t := range a.Tags {
			if t.Immutable {
				j.keep(a, "tag %s is immutable", t.Name)
			}
			for _, pattern := range j.rules.Tags {
				if match, _ := path.Match(pattern, t.Name); match {
					j.keep(a, "tag %s is like %s", t.Name, pattern)
				}
			}
		}
		if highest != "" && a.Digest == newest {
			j.keep(a, "%s is the highest version", highest)
		}
		if pushed := lastPushed(a); j.rules.Within > 0 && !pushed.Before(j.rules.Now.Add(-j.rules.Within)) {
			j.keep(a, "pushed %s, within %s", pushed.UTC().Format(time.DateOnly), timespan.Format(j.rules.Within))
		}
		if len(attachedTo(a)) > 0 {
			continue
		}
		if rank++; rank <= j.rules.Last {
			j.keep(a, "number %d of the newest %d", rank, j.rules.Last)
		}
	}
}

// lastPushed is when the artifact, or the last of its tags, was pushed.
func lastPushed(a Artifact) time.Time {
	last := a.Pushed
	for _, t := range a.Tags {
		if t.Pushed.After(last) {
			last = t.Pushed
		}
	}
	return last
}

// byReference keeps what manifests name. A digest may be that of a child or an accessory, which goes with what holds it.
func (j *judgement) byReference(repository Repository) {
	for _, ref := range j.rules.References {
		if !ref.Names(repository.Name) {
			continue
		}
		_, listed := j.byDigest[ref.Digest]
		for _, a := range j.artifacts {
			switch {
			case ref.Tag == "" && ref.Digest == "":
				j.keep(a, "the repository is named without a tag by %s", ref.Where)
			case listed && a.Digest == ref.Digest:
				j.keep(a, "named by %s", ref.Where)
			case ref.Digest != "" && !listed && (slices.Contains(a.Accessories, ref.Digest) || slices.Contains(a.Children, ref.Digest)):
				j.keep(a, "holds %s, named by %s", Brief(ref.Digest), ref.Where)
			case ref.Tag != "" && ref.Repository != "" && slices.ContainsFunc(a.Tags, func(t Tag) bool { return t.Name == ref.Tag }):
				j.keep(a, "tag %s is named by %s", ref.Tag, ref.Where)
			}
		}
	}
	for _, digest := range slices.Sorted(slices.Values(repository.Hidden)) {
		for _, a := range j.artifacts {
			if len(a.Children)+len(a.Accessories) > 0 {
				j.keep(a, "may hold %s, which a manifest names", Brief(digest))
			}
		}
	}
}

// together keeps what belongs to what stays, until nothing more does.
func (j *judgement) together() {
	for before := -1; before != len(j.why); {
		before = len(j.why)
		for _, a := range j.artifacts {
			for _, subject := range j.subjects(a) {
				if j.keeps(subject) {
					j.add(a, "belongs to "+Brief(subject))
				}
			}
			if !j.keeps(a.Digest) {
				continue
			}
			for _, child := range a.Children {
				if c, listed := j.byDigest[child]; listed {
					j.add(c, "part of "+Brief(a.Digest))
				}
			}
			if len(a.Tags) == 0 {
				j.addHolders(a)
			}
		}
	}
}

// add keeps what no rule keeps.
func (j *judgement) add(a Artifact, why string) {
	if !j.keeps(a.Digest) {
		j.keep(a, "%s", why)
	}
}

// addHolders keeps the indexes that refer to an artifact without a tag, which goes with the last of them.
func (j *judgement) addHolders(a Artifact) {
	if slices.ContainsFunc(j.holders[a.Digest], func(p Artifact) bool { return j.keeps(p.Digest) }) {
		return
	}
	for _, p := range j.holders[a.Digest] {
		j.add(p, "holds "+Brief(a.Digest)+", which stays")
	}
}

// subjects are the artifacts one of which a belongs to by its tags.
func (j *judgement) subjects(a Artifact) []string {
	var found []string
	for _, digest := range attachedTo(a) {
		if _, listed := j.byDigest[digest]; listed {
			found = append(found, digest)
		}
		for _, p := range j.holders[digest] {
			found = append(found, p.Digest)
		}
	}
	return found
}

// attachedTo are the digests of what an artifact says to belong to when it has no other tags than cosign's (sha256-HEX.sig)
// and those for referrers in registries without a list of them (sha256-HEX, OCI distribution specification).
func attachedTo(a Artifact) []string {
	var digests []string
	for _, t := range a.Tags {
		hex, ok := strings.CutPrefix(t.Name, "sha256-")
		hex, _, _ = strings.Cut(hex, ".")
		if !ok || len(hex) != 64 {
			return nil
		}
		digests = append(digests, "sha256:"+hex)
	}
	return digests
}

// Order is what goes, in an order that a registry accepts: an index before the images that it refers to. Indexes go first
// of all, since one that no artifact shows may go with them, and free an image.
func Order(decisions []Decision) []Decision {
	going := map[string]Decision{}
	var artifacts []Artifact
	for _, d := range decisions {
		if !d.Keep {
			going[d.Digest] = d
			artifacts = append(artifacts, d.Artifact)
		}
	}
	above := holders(artifacts)
	var ordered []Decision
	var visit func(a Artifact)
	visit = func(a Artifact) {
		d, ok := going[a.Digest]
		if !ok {
			return
		}
		delete(going, a.Digest)
		for _, p := range above[a.Digest] {
			visit(p)
		}
		ordered = append(ordered, d)
	}
	slices.SortStableFunc(artifacts, func(a, b Artifact) int { return min(len(b.Children), 1) - min(len(a.Children), 1) })
	for _, a := range artifacts {
		visit(a)
	}
	return ordered
}

// Brief is a digest cut to what tells it apart.
func Brief(digest string) string { return digest[:min(len(digest), len("sha256:")+12)] }
