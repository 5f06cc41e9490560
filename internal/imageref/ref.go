// Package imageref is the value of one image reference: registry, repository, tag and digest, each kept.
//
// Libraries give a tagged or a digested reference; manifests name both at once, and what a file says must
// come back letter for letter, so Ref keeps the four parts as they were written.
package imageref

import (
	"errors"
	"fmt"
	"strings"
)

// DefaultRegistry is the registry of a reference that names none, as Docker and containerd read it.
const DefaultRegistry = "docker.io"

// The limits of the distribution specification's grammar, in bytes.
const (
	maxRepository = 255
	maxTag        = 128
)

// Ref is an image reference as written: Registry is "" when it names none, Tag and Digest are "" when absent.
// Digest is "sha256:" (or sha512:, ...) and lower-case hex. Refs are comparable; use Same for "the same repository".
type Ref struct {
	Registry   string
	Repository string
	Tag        string
	Digest     string
}

// Parse reads [REGISTRY/]REPOSITORY[:TAG][@DIGEST]. The first component is a registry when it holds a dot or a
// colon, is "localhost", or has upper-case letters, as Docker decides it.
func Parse(s string) (Ref, error) {
	if i := strings.LastIndexByte(s[:strings.LastIndexByte(s, '/')+1], '@'); i >= 0 { // a digest is behind all slashes
		return Ref{}, fmt.Errorf("reference %q: %w", s[i+1:], ErrLogin)
	}
	if _, bare, found := strings.Cut(s, "://"); found {
		return Ref{}, fmt.Errorf("reference %q: without a scheme it is %s", s, bare)
	}
	var r Ref
	rest, digest, hasDigest := strings.Cut(s, "@")
	if hasDigest {
		if err := checkDigest(digest); err != nil {
			return Ref{}, fmt.Errorf("reference %q: %w", s, err)
		}
		r.Digest = digest
	}
	if i := strings.LastIndexByte(rest, ':'); i >= 0 && !strings.Contains(rest[i:], "/") {
		if err := checkTag(rest[i+1:]); err != nil {
			return Ref{}, fmt.Errorf("reference %q: %w", s, err)
		}
		rest, r.Tag = rest[:i], rest[i+1:]
	}
	r.Registry, r.Repository = split(rest)
	if err := r.checkName(); err != nil {
		return Ref{}, fmt.Errorf("reference %q: %w", s, err)
	}
	return r, nil
}

// split takes the registry off a name, if its first component is one.
func split(name string) (registry, repository string) {
	first, rest, found := strings.Cut(name, "/")
	if found && (strings.ContainsAny(first, ".:") || first == "localhost" || strings.ToLower(first) != first) {
		return first, rest
	}
	return "", name
}

// String is the reference as written; Parse reads it back to the same value.
func (r Ref) String() string {
	s := r.Name()
	if r.Tag != "" {
		s += ":" + r.Tag
	}
	if r.Digest != "" {
		s += "@" + r.Digest
	}
	return s
}

// Name is the reference without tag and digest, as written.
func (r Ref) Name() string {
	if r.Registry == "" {
		return r.Repository
	}
	return r.Registry + "/" + r.Repository
}

// Canonical is the repository's full name: docker.io/library/nginx for nginx. index.docker.io is docker.io.
func (r Ref) Canonical() string {
	registry := strings.ToLower(r.Registry)
	if registry == "" || registry == "index.docker.io" {
		registry = DefaultRegistry
	}
	repository := r.Repository
	if registry == DefaultRegistry && !strings.Contains(repository, "/") {
		repository = "library/" + repository
	}
	return registry + "/" + repository
}

// Host is the registry that a client would ask for r.
func (r Ref) Host() string {
	host, _, _ := strings.Cut(r.Canonical(), "/")
	return host
}

// Same reports whether both name the same repository, whatever their tags and digests.
func (r Ref) Same(other Ref) bool { return r.Canonical() == other.Canonical() }

// Bare is r without tag and digest.
func (r Ref) Bare() Ref { return Ref{Registry: r.Registry, Repository: r.Repository} }

// With is r with other's tag and digest.
func (r Ref) With(other Ref) Ref {
	r.Tag, r.Digest = other.Tag, other.Digest
	return r
}

// Versioned reports whether r names a tag or a digest.
func (r Ref) Versioned() bool { return r.Tag != "" || r.Digest != "" }

// Base is the last component of the repository: the bytes that any file naming the image must hold.
func (r Ref) Base() string { return r.Repository[strings.LastIndexByte(r.Repository, '/')+1:] }

func (r Ref) checkName() error {
	if r.Registry != "" {
		if err := checkRegistry(r.Registry); err != nil {
			return err
		}
	}
	if r.Repository == "" {
		return errors.New("the repository is empty")
	}
	if len(r.Repository) > maxRepository {
		return fmt.Errorf("the repository is longer than %d characters", maxRepository)
	}
	for component := range strings.SplitSeq(r.Repository, "/") {
		if err := checkComponent(component); err != nil {
			return err
		}
	}
	return nil
}
