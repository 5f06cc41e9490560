package main

import (
	"fmt"
	"testing"

	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestUpdateSignedByPolicy follows a policy that asks for signed images only where signatures are verified.
func TestUpdateSignedByPolicy(t *testing.T) {
	s := harborOf(t, registrytest.Config{Scanner: &registrytest.Scanner{Vulnerabilities: "[]"}})
	putTag(t, s, "1.0.0", imageOf(t, "amd64", 1))
	img := imageOf(t, "amd64", 2)
	putTag(t, s, "1.1.0", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	key := newSigner(t)
	files := map[string]string{
		"pod.yaml": fmt.Sprintf("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\nspec: {containers: [{image: '%s/team/app:1.0.0'}]}\n", s.Host),
		"app.yaml": "apiVersion: argoproj.io/v1alpha1\nkind: Application\nmetadata: {name: a}\nspec: {source: {repoURL: 'https://git.example.com/x', path: .}}\n",
		"updater.yaml": fmt.Sprintf("apiVersion: argocd-image-updater.argoproj.io/v1alpha1\nkind: ImageUpdater\nmetadata: {name: u}\nspec:\n  imagesVerification: {cosignKey: {secretName: k}}\n"+
			"  applicationRefs: [{namePattern: a, images: [{alias: a, imageName: '%s/team/app'}]}]\n", s.Host),
	}
	for _, args := range [][]string{nil, {"--max-severity", "critical"}} {
		if d, stderr, _ := runUpdate(t, s, files, args...); len(d.Changes) != 0 {
			t.Errorf("%v: %+v; %s", args, d, stderr)
		}
	}
	if d, stderr, code := runUpdate(t, s, files, "--verify-cosign-key", key.file); code != 3 || len(d.Changes) != 0 || len(d.Failures) != 1 {
		t.Errorf("exit %d, %+v; %s", code, d, stderr)
	}
	key.sign(t, s, digest.String())
	if d, stderr, code := runUpdate(t, s, files, "--verify-cosign-key", key.file); code != 0 || len(d.Changes) != 1 {
		t.Errorf("exit %d, %+v; %s", code, d, stderr)
	}
}
