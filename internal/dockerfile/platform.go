package dockerfile

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
)

func buildPlatform() v1.Platform {
	return normalize(v1.Platform{OS: "linux", Architecture: runtime.GOARCH})
}

// ParsePlatform reads OS/ARCH[/VARIANT], OS or ARCH.
func ParsePlatform(s string) (v1.Platform, error) {
	if s == "" {
		return v1.Platform{}, errors.New("--platform is empty")
	}
	for part := range strings.SplitSeq(s, "/") {
		if !platformPart.MatchString(part) {
			return v1.Platform{}, fmt.Errorf("--platform=%s: %q is no part of a platform, as in linux/amd64", s, part)
		}
	}
	p, err := v1.ParsePlatform(s)
	if err != nil {
		return v1.Platform{}, err
	}
	switch {
	case p.Architecture == "" && p.OS == "linux":
		p.Architecture = runtime.GOARCH
	case p.Architecture == "" && p.OS != "windows":
		p.OS, p.Architecture = "linux", p.OS
	}
	return normalize(*p), nil
}

var platformPart = regexp.MustCompile(`^[A-Za-z0-9_.:-]+$`)

// normalize spells a platform as containerd does.
func normalize(p v1.Platform) v1.Platform { return image.Normal(p) }

func supportedPlatform(p v1.Platform) error {
	if p.OS != "linux" {
		return notYet("platform "+p.String(), "linux is")
	}
	if p.Architecture == "" {
		return errors.New("the platform has no architecture: write linux/amd64 or linux/arm64")
	}
	return nil
}
