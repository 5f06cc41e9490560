package ignore_test

import (
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/ignore"
)

// BenchmarkCovers asks rules of the usual kind about a path of the usual depth.
func BenchmarkCovers(b *testing.B) {
	rules := ignore.Parse([]byte("*.tmp\nbuild/\n/dist\nnode_modules/\n*.gen.yaml\n.env\n!keep.yaml\nsecrets/*.yaml\napps/legacy\n**/test/**\n"))
	for b.Loop() {
		if rules.Covers("clusters/production/team-a/shop/deployment.yaml") {
			b.Fatal("ignored")
		}
	}
}
