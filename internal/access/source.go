package access

import (
	"cmp"
	"context"
	"fmt"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Source is the image that typed names to be read: by tag, latest where there is none, or by digest. Without a host it is
// Harbor's where one is set, else Docker Hub's.
func (f *Flags) Source(ctx context.Context, c *cli.Console, typed string) (imageref.Ref, error) {
	ref, err := imageref.Parse(typed)
	if err != nil {
		return ref, fault.Usagef("for example: harbor.example.com/project/app:1.2.3", "%w", err)
	}
	if ref.Digest == "" {
		ref.Tag = cmp.Or(ref.Tag, "latest")
	}
	return f.whole(ctx, c, typed, ref)
}

// Repository is the repository that typed names, with the tag that it may name too. Its host is found as Source's is.
func (f *Flags) Repository(ctx context.Context, c *cli.Console, typed string) (imageref.Ref, error) {
	ref, err := imageref.Parse(typed)
	if err == nil && ref.Digest != "" {
		err = fmt.Errorf("reference %q: a digest has no other tags", typed)
	}
	if err != nil {
		return ref, fault.Usagef("for example: harbor.example.com/project/app", "%w", err)
	}
	return f.whole(ctx, c, typed, ref)
}

// whole is ref with a host: Harbor's where one is set, else it is Docker Hub's.
func (f *Flags) whole(ctx context.Context, c *cli.Console, typed string, ref imageref.Ref) (imageref.Ref, error) {
	if ref.Registry != "" {
		return ref, nil
	}
	s, err := f.settings(ctx, c)
	if err != nil || s.host == "" {
		return ref, err
	}
	whole, err := s.complete(ref)
	if err == nil {
		c.Progressf("%s is %s", typed, whole)
	}
	return whole, err
}
