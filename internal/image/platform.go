package image

import (
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Normal is a platform as containerd spells it.
func Normal(p v1.Platform) v1.Platform {
	p.OS, p.Architecture, p.Variant = strings.ToLower(p.OS), strings.ToLower(p.Architecture), strings.ToLower(p.Variant)
	switch p.Architecture {
	case "x86_64", "x86-64":
		p.Architecture = "amd64"
	case "aarch64":
		p.Architecture = "arm64"
	case "armhf":
		p.Architecture, p.Variant = "arm", "v7"
	}
	if p.Variant != "" && strings.Trim(p.Variant, "0123456789.") == "" {
		p.Variant = "v" + p.Variant
	}
	switch {
	case p.Architecture == "arm64" && (p.Variant == "v8" || p.Variant == "v8.0"), p.Architecture == "amd64" && p.Variant == "v1":
		p.Variant = ""
	case p.Architecture == "arm" && p.Variant == "":
		p.Variant = "v7"
	}
	return p
}

// generations are of the architectures whose later ones run what was made for earlier ones: the first that there is, and the
// one that is meant where none is named.
var generations = map[string]struct{ first, usual int }{"amd64": {1, 1}, "arm": {5, 7}, "arm64": {8, 8}}

// generation is that of a normal platform, in hundredths.
func generation(p v1.Platform) (n int, ok bool) {
	known, ok := generations[p.Architecture]
	if !ok || p.Variant == "" {
		return known.usual * 100, ok
	}
	version, err := strconv.ParseFloat(strings.TrimPrefix(p.Variant, "v"), 32)
	n = int(version*100 + 0.5)
	return n, err == nil && n >= known.first*100
}

// Suits reports whether what is made for a platform runs where another one is wanted, as containerd has it: a processor runs
// what was made for earlier generations. The more of two that suit is the better one. What wanted does not name may be
// anything; but of a processor the usual generation is meant.
func Suits(made, wanted v1.Platform) (better int, ok bool) {
	made, wanted = Normal(made), Normal(wanted)
	if wanted.Architecture == "" {
		return 0, made.Satisfies(wanted)
	}
	is, ordered := generation(made)
	runs, known := generation(wanted)
	if later := !ordered || !known || is > runs; later && made.Variant != wanted.Variant {
		return 0, false
	}
	made.Variant, wanted.Variant = "", ""
	return is, made.Satisfies(wanted)
}
