package ship

import (
	"slices"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
)

// ParsePlatform reads OS/ARCHITECTURE[/VARIANT].
func ParsePlatform(s string) (v1.Platform, error) {
	if strings.Contains(s, ",") {
		return v1.Platform{}, fault.Usagef("name one of them", "--platform %s: there is one image here", s)
	}
	platform, err := v1.ParsePlatform(s)
	if err != nil || platform.OS == "" || platform.Architecture == "" {
		return v1.Platform{}, fault.Usagef("for example: --platform linux/arm64", "--platform %q is not OS/ARCHITECTURE", s)
	}
	return *platform, nil
}

// ParsePlatforms reads lists of platforms, with commas between them, as FROM --platform reads one. Each counts once.
func ParsePlatforms(lists []string) (platforms []v1.Platform, err error) {
	for _, list := range lists {
		for s := range strings.SplitSeq(list, ",") {
			p, err := dockerfile.ParsePlatform(strings.TrimSpace(s))
			if err != nil {
				return nil, fault.Usagef("for example: --platform linux/amd64,linux/arm64", "%w", err)
			}
			if !slices.ContainsFunc(platforms, p.Equals) {
				platforms = append(platforms, p)
			}
		}
	}
	return platforms, nil
}
