package manifest_test

import (
	"os"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// BenchmarkFind reads a usual Deployment of 2 KB; nearly all of its time is the YAML reader's.
func BenchmarkFind(b *testing.B) {
	data, err := os.ReadFile("testdata/deployment.yaml")
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if sites, err := manifest.Find("apps/rss/deployment.yaml", data, manifest.Rules{}); err != nil || len(sites) != 3 {
			b.Fatal(len(sites), err)
		}
	}
}
