package manifest

import (
	"fmt"
	"slices"

	"github.com/ksera524/imgbump/internal/imageref"
)

// Shape says how a site names its image.
type Shape string

const (
	Whole     Shape = "string"             // one value is the whole reference: image: nginx:1.27
	Kustomize Shape = "kustomize"          // an entry of a kustomization's images: name, newName, newTag, digest
	Override  Shape = "kustomize-override" // one value of an Application's kustomize.images: nginx=harbor.example.com/nginx:1.27
	Helm      Shape = "helm"               // the parts apart: registry, repository, tag, digest; in keys, parameters or a patch
	Version   Shape = "version"            // only the tag or the digest; a FieldRule says of which image
)

// Object is the Kubernetes object that a site belongs to; zero in files that are none, such as Helm values.
type Object struct {
	APIVersion string `json:"apiVersion,omitempty"`
	Kind       string `json:"kind,omitempty"`
	Namespace  string `json:"namespace,omitempty"`
	Name       string `json:"name,omitempty"`
}

// Site is a place that names an image. Field is its path in document Doc (counted from 0), Line (from 1) and the byte
// range [Start,End) are those of the value that carries the version. Replaces is the name that a kustomization's entry
// looks for in the resources; it is Ref's repository elsewhere. Marker is the policy of Flux, NAMESPACE:NAME, that a comment
// {"$imagepolicy": ...} beside the value names, and Rule what a comment "# imgbump: RULE" in line RuleLine asks for.
type Site struct {
	File       string
	Doc        int
	Field      string
	Line       int
	Start, End int
	Ref        imageref.Ref
	Replaces   imageref.Ref
	Shape      Shape
	Object     Object
	Hold       string // why a comment "# imgbump: hold [reason]" forbids to change the site, "hold" when it does not say; else ""
	Marker     string
	NameMarked bool // the marker is for the repository, too
	Rule       string
	RuleLine   int

	write writer
	root  mapping // the object's
	about []int   // the lines whose comments are about the site
}

// Holds reports whether a byte of the file, by its offset, is one of a value that Ref was read from.
func (s Site) Holds(offset int) bool {
	return slices.ContainsFunc(s.write.values(), func(v scalar) bool { return v.start <= offset && offset < v.end })
}

// writer makes the edits that let a site name want. With rename the repository is written too. Its values are those that
// the site consists of, as far as they are located.
type writer interface {
	edits(want imageref.Ref, rename bool) ([]Edit, error)
	values() []scalar
}

// Set is the edits that make the site name want's tag and digest, and with rename its repository; none when it does. The
// version stays when want has none. It is an error when the site's form has no place for what is wanted.
func (s Site) Set(want imageref.Ref, rename bool) ([]Edit, error) {
	if !want.Versioned() {
		want = want.With(s.Ref)
	}
	edits, err := s.write.edits(want, rename)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s.Field, err)
	}
	return slices.DeleteFunc(edits, func(e Edit) bool { return e.Old == e.New }), nil
}

// unwritable is the writer of a site that can be read but not exactly located.
type unwritable struct{ err error }

func (u unwritable) edits(imageref.Ref, bool) ([]Edit, error) { return nil, u.err }

func (unwritable) values() []scalar { return nil }
