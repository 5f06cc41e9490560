package image_test

import (
	"strings"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/image"
)

// TestChoose wants what containerd's platforms.Only chooses, whatever the order of the index.
func TestChoose(t *testing.T) {
	for _, tt := range []struct{ index, wanted, want string }{
		{"linux/arm/v5 linux/arm/v6 linux/arm/v7", "linux/arm/v7", "linux/arm/v7"},
		{"linux/arm/v5 linux/arm/v6", "linux/arm/v7", "linux/arm/v6"},
		{"linux/arm/v6 linux/arm/v7", "linux/arm/v6", "linux/arm/v6"},
		{"linux/arm/v7 linux/arm/v8", "linux/arm", "linux/arm/v7"},
		{"linux/arm", "linux/arm/v7", "linux/arm"},
		{"linux/arm/v7", "linux/arm/v6", ""},
		{"linux/arm/v4", "linux/arm/v7", ""},
		{"linux/arm64/v9 linux/arm64", "linux/arm64/v8", "linux/arm64"},
		{"linux/arm64/v8", "linux/arm64", "linux/arm64/v8"},
		{"linux/arm64 linux/arm64/v9", "linux/arm64/v9", "linux/arm64/v9"},
		{"linux/arm64/v8", "linux/arm64/v9", "linux/arm64/v8"},
		{"linux/arm64/v8 linux/arm64/v9", "linux/arm64/v9.2", "linux/arm64/v9"},
		{"linux/amd64/v2 linux/amd64/v3 linux/amd64", "linux/amd64", "linux/amd64"},
		{"linux/amd64 linux/amd64/v2 linux/amd64/v3 linux/amd64/v4", "linux/amd64/v3", "linux/amd64/v3"},
		{"linux/amd64/v1 linux/amd64/v4", "linux/amd64/v3", "linux/amd64/v1"},
		{"linux/amd64/v2", "linux/amd64", ""},
		{"linux/amd64", "linux/arm64", ""},
		{"linux/x86_64", "linux/amd64", "linux/x86_64"},
		{"linux/riscv64/rva20u64", "linux/riscv64/rva20u64", "linux/riscv64/rva20u64"},
		{"linux/ppc64le", "linux/ppc64le", "linux/ppc64le"},
		{"windows/amd64", "linux/amd64", ""},
	} {
		index, named := &v1.IndexManifest{}, map[v1.Hash]string{}
		for i, text := range strings.Fields(tt.index) {
			p, err := v1.ParsePlatform(text)
			must(t, err)
			digest := v1.Hash{Algorithm: "sha256", Hex: string(rune('a' + i))}
			named[digest] = text
			index.Manifests = append(index.Manifests, v1.Descriptor{MediaType: types.OCIManifestSchema1, Digest: digest, Platform: p})
		}
		wanted, err := v1.ParsePlatform(tt.wanted)
		must(t, err)
		got, err := image.Choose(index, *wanted)
		if named[got] != tt.want || (err == nil) != (tt.want != "") {
			t.Errorf("%s of %s: %q, %v; want %q", tt.wanted, tt.index, named[got], err, tt.want)
		}
		if err != nil && !strings.HasSuffix(err.Error(), "only for "+strings.Join(strings.Fields(tt.index), ", ")) {
			t.Error(err)
		}
	}
}

func TestWanted(t *testing.T) {
	for platform, want := range map[string]bool{"linux/arm/v6": true, "linux/arm64/v8": true, "linux/amd64": false, "linux/arm64/v9": false, "": false} {
		if got := image.Wanted([]string{"linux/arm/v7", "linux/arm64"}, platform); got != want {
			t.Errorf("%q: %t", platform, got)
		}
	}
	if !image.Wanted(nil, "") {
		t.Error("with none wanted, one is refused")
	}
}
