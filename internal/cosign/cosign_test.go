package cosign_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/cosign"
	"github.com/ksera524/imgbump/internal/fault"
)

const digest = "sha256:87f14a0e5bfcd1a3ef1a1bd4a3ac8b5a3b0dc12ba6f28d154ab0cb15e7c5e2f1"

func keyOf(t *testing.T, public any) cosign.Key {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(public)
	if err != nil {
		t.Fatal(err)
	}
	key, err := cosign.ParseKey(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der}))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sign signs as cosign does: the hash, but for Ed25519 the message.
func sign(t *testing.T, key crypto.Signer, message []byte) []byte {
	t.Helper()
	sum := sha256.Sum256(message)
	hash, input := crypto.Hash(crypto.SHA256), sum[:]
	if _, ok := key.(ed25519.PrivateKey); ok {
		hash, input = 0, message
	}
	signature, err := key.Sign(rand.Reader, input, hash)
	if err != nil {
		t.Fatal(err)
	}
	return signature
}

func simple(digest string) []byte {
	return fmt.Appendf(nil, `{"critical":{"identity":{"docker-reference":"h/a"},"image":{"docker-manifest-digest":%q},"type":"cosign container image signature"},"optional":null}`, digest)
}

func statement(predicate, digest string) []byte {
	_, hex, _ := strings.Cut(digest, ":")
	return fmt.Appendf(nil, `{"_type":"https://in-toto.io/Statement/v1","subject":[{"digest":{"sha256":%q}}],"predicateType":%q,"predicate":{}}`, hex, predicate)
}

func bundleOf(t *testing.T, key crypto.Signer, kind string, payload []byte) []byte {
	t.Helper()
	signed := fmt.Appendf(nil, "DSSEv1 %d %s %d %s", len(kind), kind, len(payload), payload)
	raw, err := json.Marshal(map[string]any{"mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json", "dsseEnvelope": map[string]any{
		"payload": payload, "payloadType": kind, "signatures": []map[string]any{{"sig": []byte("AAAA")}, {"sig": sign(t, key, signed)}}}})
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func TestSignatures(t *testing.T) {
	ec, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	_, ed, _ := ed25519.GenerateKey(rand.Reader)
	rs, _ := rsa.GenerateKey(rand.Reader, 2048)
	other, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	const inToto = "application/vnd.in-toto+json"
	for _, signer := range []crypto.Signer{ec, ed, rs} {
		key := keyOf(t, signer.Public())
		encode := func(message []byte) string { return base64.StdEncoding.EncodeToString(sign(t, signer, message)) }
		for what, err := range map[string]error{
			"simple":           key.Simple(simple(digest), encode(simple(digest)), digest),
			"bundle":           key.Bundle(bundleOf(t, signer, inToto, statement("https://sigstore.dev/cosign/sign/v1", digest)), digest),
			"bundle of simple": key.Bundle(bundleOf(t, signer, cosign.SimpleSigning, simple(digest)), digest),
		} {
			if err != nil {
				t.Errorf("%T, %s: %v", signer, what, err)
			}
		}
	}
	key := keyOf(t, ec.Public())
	encode := func(key crypto.Signer, message []byte) string {
		return base64.StdEncoding.EncodeToString(sign(t, key, message))
	}
	another := strings.Replace(digest, "87", "78", 1)
	for want, err := range map[string]error{
		"it was not made with the key":                            key.Simple(simple(digest), encode(other, simple(digest)), digest),
		"it signs " + another:                                     key.Simple(simple(another), encode(ec, simple(another)), digest),
		"its signature is not base64":                             key.Simple(simple(digest), "?", digest),
		"what was signed is no statement about an image":          key.Simple([]byte(`{}`), encode(ec, []byte(`{}`)), digest),
		"it signs another image":                                  key.Bundle(bundleOf(t, ec, inToto, statement("https://sigstore.dev/cosign/sign/v1", another)), digest),
		"what was signed is an attestation, and not the image":    key.Bundle(bundleOf(t, ec, inToto, statement("https://spdx.dev/Document", digest)), digest),
		"it is no bundle with a signed statement":                 key.Bundle([]byte(`{"dsseEnvelope":{"signatures":[]}}`), digest),
		"it was not made with the key\x00":                        key.Bundle(bundleOf(t, other, inToto, statement("https://sigstore.dev/cosign/sign/v1", digest)), digest),
		"what was signed is no statement about an image\x00 kind": key.Bundle(bundleOf(t, ec, "text/plain", simple(digest)), digest),
	} {
		if want, _, _ = strings.Cut(want, "\x00"); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestParseKey(t *testing.T) {
	short, _ := rsa.GenerateKey(rand.Reader, 1024)
	der, _ := x509.MarshalPKIXPublicKey(short.Public())
	for want, file := range map[string]string{
		"it is no PEM file":                     "secret",
		"it holds no public key, but":           string(pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED SIGSTORE PRIVATE KEY", Bytes: []byte("secret")})),
		"the public key is not readable":        string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: []byte("secret")})),
		"the RSA key has 1024 bits; 2048 are n": string(pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})),
	} {
		_, err := cosign.ParseKey([]byte(file))
		if err == nil || !strings.HasPrefix(err.Error(), want) || fault.KindOf(err) != fault.Usage || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

// TestRecorded has what cosign 2.6.5 stored for an image: 'cosign sign --key cosign.key --tlog-upload=false' with
// --new-bundle-format=false and true.
func TestRecorded(t *testing.T) {
	const image = "sha256:9b4ee9c31576f8db1b4f92d907b4cf46781fc34d4db0845835cae540d2e25677"
	read := func(name string) []byte {
		t.Helper()
		data, err := os.ReadFile("testdata/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	for _, tt := range []struct {
		key, digest string
		ok          bool
	}{{"simple.pub", image, true}, {"bundle.pub", image, false}, {"simple.pub", digest, false}} {
		key, err := cosign.ParseKey(read(tt.key))
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Simple(read("simple.json"), string(read("simple.sig")), tt.digest); (err == nil) != tt.ok {
			t.Errorf("simple, %+v: %v", tt, err)
		}
	}
	for _, tt := range []struct {
		key, digest string
		ok          bool
	}{{"bundle.pub", image, true}, {"simple.pub", image, false}, {"bundle.pub", digest, false}} {
		key, err := cosign.ParseKey(read(tt.key))
		if err != nil {
			t.Fatal(err)
		}
		if err := key.Bundle(read("bundle.json"), tt.digest); (err == nil) != tt.ok {
			t.Errorf("bundle, %+v: %v", tt, err)
		}
	}
}
