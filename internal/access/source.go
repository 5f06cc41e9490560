package access

import (
	"cmp"
	"context"

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
