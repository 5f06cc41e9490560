package policy_test

import (
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/policy"
)

// TestIgnored leaves out what a pattern or an expression matches.
func TestIgnored(t *testing.T) {
	p, err := policy.New(policy.Rules{Strategy: policy.Alphabetical, IgnoreTags: []string{"dev-*", `regexp:^(rc|beta)\d+$`, "regexp:old"}})
	if err != nil {
		t.Fatal(err)
	}
	for tag, want := range map[string]bool{"dev-1": false, "rc1": false, "beta12": false, "rc1-x": true, "very-old-one": false, "main": true} {
		if got := p.Admits(tag); got != want {
			t.Errorf("%s is admitted: %v", tag, got)
		}
	}
	for _, bad := range []string{"[", "regexp:(", "regexp:" + strings.Repeat("x", 5000)} {
		if _, err := policy.New(policy.Rules{Strategy: policy.Alphabetical, IgnoreTags: []string{bad}}); fault.KindOf(err) != fault.Usage {
			t.Errorf("%.20s: %v", bad, err)
		}
	}
}

// TestLongConstraint is refused without repeating it.
func TestLongConstraint(t *testing.T) {
	_, err := policy.New(policy.Rules{Strategy: policy.Semver, Constraint: strings.Repeat("^1.2 || ", 4000)})
	if fault.KindOf(err) != fault.Usage || len(err.Error()) > 200 {
		t.Errorf("%.300v", err)
	}
}
