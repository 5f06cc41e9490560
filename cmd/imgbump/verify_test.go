package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/cosign"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registry/harbor"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// signer is a key pair, and the file of its public half.
type signer struct {
	key  *ecdsa.PrivateKey
	file string
}

func newSigner(t *testing.T) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKIXPublicKey(key.Public())
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "cosign.pub")
	if err := os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return signer{key, file}
}

// sign stores a signature beside an image of team/app as cosign does.
func (k signer) sign(t *testing.T, s *registrytest.Server, digest string) {
	t.Helper()
	payload := fmt.Appendf(nil, `{"critical":{"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"}}`, digest)
	sum := sha256.Sum256(payload)
	signature, err := ecdsa.SignASN1(rand.Reader, k.key, sum[:])
	if err != nil {
		t.Fatal(err)
	}
	img, err := mutate.Append(mutate.MediaType(empty.Image, types.OCIManifestSchema1), mutate.Addendum{
		Layer:       static.NewLayer(payload, cosign.SimpleSigning),
		Annotations: map[string]string{"dev.cosignproject.cosign/signature": base64.StdEncoding.EncodeToString(signature)},
	})
	if err != nil {
		t.Fatal(err)
	}
	putTag(t, s, strings.Replace(digest, ":", "-", 1)+".sig", img)
}

// TestUpdateVerified uses what one key signed, and nothing else.
func TestUpdateVerified(t *testing.T) {
	s := harborOf(t, registrytest.Config{})
	putTag(t, s, "1.0.0", imageOf(t, "amd64", 1))
	img := imageOf(t, "amd64", 2)
	putTag(t, s, "1.1.0", img)
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := newSigner(t), newSigner(t)
	files := map[string]string{"a.yaml": fmt.Sprintf("image: %s/team/app:1.0.0 # imgbump: semver\n", s.Host)}
	refused := func(key signer, reason string) {
		t.Helper()
		d, stderr, code := runUpdate(t, s, files, "--verify-cosign-key", key.file)
		if code != 3 || len(d.Changes) != 0 || len(d.Failures) != 1 || len(d.Skipped) != 1 || !strings.Contains(d.Failures[0].Error, reason) || d.Skipped[0].Line != 1 {
			t.Errorf("exit %d, %+v; %s", code, d, stderr)
		}
	}
	refused(ours, "it is not signed")
	theirs.sign(t, s, digest.String())
	refused(ours, "none of 1 signature is good: it was not made with the key")
	d, stderr, code := runUpdate(t, s, files, "--verify-cosign-key", theirs.file, "--pin", "both")
	if code != 0 || len(d.Changes) != 1 || !strings.HasSuffix(d.Changes[0].To, ":1.1.0@"+digest.String()) {
		t.Errorf("exit %d, %+v; %s", code, d, stderr)
	}
	// What is there already is not looked at.
	files = map[string]string{"a.yaml": fmt.Sprintf("image: %s/team/app:1.1.0 # imgbump: semver\n", s.Host)}
	if d, stderr, code = runUpdate(t, s, files, "--verify-cosign-key", ours.file); code != 0 {
		t.Errorf("exit %d, %+v; %s", code, d, stderr)
	}
}

// TestUpdateScanned uses what Harbor's scanner found nothing too grave in.
func TestUpdateScanned(t *testing.T) {
	s := harborOf(t, registrytest.Config{Scanner: &registrytest.Scanner{
		Vulnerabilities: `[{"id":"CVE-2026-1","package":"zlib","version":"1","severity":"High"},{"id":"CVE-2026-2","package":"zlib","version":"1","severity":"Low"}]`}})
	putTag(t, s, "1.0.0", imageOf(t, "amd64", 1))
	putTag(t, s, "1.1.0", imageOf(t, "amd64", 2))
	files := map[string]string{"a.yaml": fmt.Sprintf("image: %s/team/app:1.0.0 # imgbump: semver\n", s.Host)}
	d, stderr, code := runUpdate(t, s, files, "--max-severity", "high")
	if code != 3 || len(d.Failures) != 1 || !strings.HasSuffix(d.Failures[0].Error, "it has not been scanned") {
		t.Errorf("exit %d, %+v; %s", code, d, stderr)
	}
	client := registry.New(registry.Options{Credential: registry.Credential{Host: s.Host, Username: robot, Password: robotPassword}})
	if _, err := harbor.New(client, s.Host).Scan(t.Context(), "team/app", "1.1.0", func(string) {}); err != nil {
		t.Fatal(err)
	}
	for severity, changes := range map[string]int{"critical": 1, "high": 1, "Medium": 0, "low": 0} {
		d, stderr, _ = runUpdate(t, s, files, "--max-severity", severity)
		if len(d.Changes) != changes || changes == 0 && !strings.Contains(d.Failures[0].Error, "1 finding graver than "+strings.ToLower(severity)+", such as CVE-2026-1 (high) in zlib") {
			t.Errorf("%s: %+v; %s", severity, d, stderr)
		}
	}
	if _, _, code := runUpdate(t, s, files, "--max-severity", "awful"); code != 2 {
		t.Errorf("exit %d", code)
	}
}
