// Package bump is the pipeline of imgbump: it reads the manifests, decides purely what to change, and hands the
// result to a folder or to a branch. Losing a race for the branch means deciding again on its new tip.
package bump

import (
	"errors"
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Image is what was asked for: every site of Ref's repository gets Ref's tag and digest. With Rename, sites of Old
// match too, and get Ref's repository. Source is the FILE:LINE that Ref was taken from, and Why the reason for which it was
// chosen; both are "" when it was asked for. Only is the one site that is meant; a zero one means all.
type Image struct {
	Ref    imageref.Ref
	Old    imageref.Ref
	Rename bool
	Source string
	Why    string
	Only   manifest.Site
}

// means reports whether the image is meant for the site, whose repository is right.
func (i Image) means(site manifest.Site) bool {
	return i.Only.File == "" || i.Only.File == site.File && i.Only.Start == site.Start && i.Only.Ref == site.Ref
}

func (i Image) String() string {
	if i.Rename {
		return i.Old.String() + "=" + i.Ref.String()
	}
	return i.Ref.String()
}

// why tells the reason for a change to the image.
func (i Image) why() string {
	if i.Why != "" {
		return i.Why
	}
	if i.Source != "" {
		return "promoted from " + i.Source
	}
	return "set to " + i.Ref.String()
}

// example is shown wherever an image was asked for in a wrong way.
const example = "for example: imgbump set harbor.example.com/team/app:1.2.3"

// ParseImages reads [OLD=]REF arguments. Errors are of kind Usage.
func ParseImages(args []string) ([]Image, error) {
	var images []Image
	asked := map[string]imageref.Ref{} // by repository
	for _, arg := range args {
		image, err := parseImage(arg)
		if err != nil {
			return nil, err
		}
		name := image.Ref.Canonical()
		if other, again := asked[name]; again && other.With(image.Ref) != other {
			return nil, fault.Usagef("name one version a repository", "%s is asked for as %s and as %s", image.Ref.Name(), other, image.Ref)
		}
		asked[name] = image.Ref
		images = append(images, image)
	}
	return images, nil
}

func parseImage(arg string) (Image, error) {
	old, ref, rename := strings.Cut(arg, "=")
	if !rename {
		old, ref = "", arg
	}
	image := Image{Rename: rename}
	var err error
	if image.Ref, err = parse(ref); err != nil {
		return Image{}, err
	}
	if !image.Ref.Versioned() {
		return Image{}, fault.Usagef(example, "%s names no version: a tag or a digest is needed", ref)
	}
	if rename {
		if image.Old, err = parse(old); err != nil {
			return Image{}, err
		}
		if image.Old.Versioned() {
			return Image{}, fault.Usagef("write "+image.Old.Name()+"="+ref, "%s: OLD is a repository, without tag or digest", old)
		}
	}
	return image, nil
}

// parse reads a reference; an upper-case repository gets its lower-case spelling as the hint.
func parse(s string) (imageref.Ref, error) {
	ref, err := imageref.Parse(s)
	if err == nil {
		return ref, nil
	}
	hint := example
	if errors.Is(err, imageref.ErrUpperCase) {
		name, version := s, ""
		if i := strings.LastIndexAny(s, "/"); i >= 0 {
			if j := strings.IndexAny(s[i:], ":@"); j >= 0 {
				name, version = s[:i+j], s[i+j:]
			}
		}
		hint = fmt.Sprintf("write %s", strings.ToLower(name)+version)
	}
	return imageref.Ref{}, fault.Usagef(hint, "%w", err)
}
