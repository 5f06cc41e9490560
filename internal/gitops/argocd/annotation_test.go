package argocd_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/gitops/argocd"
)

// TestAnnotations reads annotations with their lines, those that are merged too.
func TestAnnotations(t *testing.T) {
	const list = "apiVersion: v1\nkind: List\nitems:\n- apiVersion: argoproj.io/v1alpha1\n  kind: Application\n  metadata:\n    name: a\n    labels: {team: red}\n    annotations: &a\n      x: 1\n      y: \"\"\n" +
		"- apiVersion: argoproj.io/v1alpha1\n  kind: Application\n  metadata:\n    name: b\n    annotations:\n      <<: [*a, *a]\n      y: two\n"
	d := argocd.Parse("a.yaml", []byte(list))
	if len(d.Applications) != 2 || len(d.Unclear) > 0 {
		t.Fatalf("%+v", d)
	}
	if diff := cmp.Diff([]argocd.Annotation{{Key: "x", Value: "1", Line: 10}, {Key: "y", Line: 11}}, d.Applications[0].Annotations); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]argocd.Annotation{{Key: "y", Value: "two", Line: 18}, {Key: "x", Value: "1", Line: 10}}, d.Applications[1].Annotations); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]argocd.Annotation{{Key: "team", Value: "red", Line: 8}}, d.Applications[0].Labels); diff != "" {
		t.Error(diff)
	}
}

// TestHostileAnnotations has more annotations than there may be, and mappings that merge one another twice each.
func TestHostileAnnotations(t *testing.T) {
	head := "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata:\n  name: a\n  annotations:\n"
	var many, bomb strings.Builder
	many.WriteString(head)
	for i := range 1000 {
		fmt.Fprintf(&many, "    k%d: v\n", i)
	}
	if d := argocd.Parse("a.yaml", []byte(many.String())); len(d.Applications) > 0 || len(d.Unclear) != 1 || !strings.Contains(d.Unclear[0].Text, "there are more than 256") {
		t.Errorf("%+v", d)
	}
	bomb.WriteString("x0: &x0 {a: b}\n")
	for i := range 60 {
		fmt.Fprintf(&bomb, "x%d: &x%d {<<: [*x%d, *x%d]}\n", i+1, i+1, i, i)
	}
	bomb.WriteString(head + "    <<: *x60\n")
	if d := argocd.Parse("a.yaml", []byte(bomb.String())); len(d.Unclear) > 1 {
		t.Errorf("%+v", d)
	}
}
