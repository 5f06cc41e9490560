// Package cosign says whether a signature that cosign made with a key is one of an image.
//
// It knows what cosign stores beside an image: signatures of the simple signing form (specs/SIGNATURE_SPEC.md of
// sigstore/cosign), and bundles (protobuf-specs of sigstore, v0.3) with a DSSE envelope. Keys alone are trusted: no
// certificate, no transparency log. cosign's own module would bring some hundred others for that.
package cosign

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// Media types of what holds signatures.
const (
	SimpleSigning = "application/vnd.dev.cosign.simplesigning.v1+json"
	bundlePrefix  = "application/vnd.dev.sigstore.bundle"
)

// IsBundle reports whether a media type is that of a bundle.
func IsBundle(mediaType string) bool { return strings.HasPrefix(mediaType, bundlePrefix) }

// Key is a public key.
type Key struct{ public crypto.PublicKey }

// ParseKey reads a public key in PEM: ECDSA as 'cosign generate-key-pair' makes it, Ed25519, or RSA. Errors are of kind
// Usage and do not repeat the file.
func ParseKey(data []byte) (Key, error) {
	const hint = "cosign generate-key-pair writes one, cosign.pub"
	block, _ := pem.Decode(data)
	if block == nil {
		return Key{}, fault.Usagef(hint, "it is no PEM file")
	}
	if block.Type != "PUBLIC KEY" {
		return Key{}, fault.Usagef(hint, "it holds no public key, but %q", fault.Said(block.Type, 60))
	}
	public, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return Key{}, fault.Usagef(hint, "the public key is not readable")
	}
	switch k := public.(type) {
	case *ecdsa.PublicKey, ed25519.PublicKey:
		return Key{public}, nil
	case *rsa.PublicKey:
		if k.N.BitLen() >= minRSA {
			return Key{public}, nil
		}
		return Key{}, fault.Usagef(hint, "the RSA key has %d bits; %d are needed", k.N.BitLen(), minRSA)
	}
	return Key{}, fault.Usagef(hint, "a key of the kind %T cannot sign", public)
}

// minRSA is the shortest RSA key that is trusted, in bits (NIST SP 800-57 for 112 bits of strength).
const minRSA = 2048

// errSignature is that of a signature which the key did not make.
var errSignature = errors.New("it was not made with the key")

// verify is nil when the key made the signature of message.
func (k Key) verify(message, signature []byte) error {
	sum := sha256.Sum256(message)
	valid := false
	switch public := k.public.(type) {
	case *ecdsa.PublicKey:
		valid = ecdsa.VerifyASN1(public, sum[:], signature)
	case ed25519.PublicKey:
		valid = ed25519.Verify(public, message, signature)
	case *rsa.PublicKey:
		valid = rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
	}
	if !valid {
		return errSignature
	}
	return nil
}

// Simple is nil when payload, whose signature is in base64, says that the key's owner signed the image or index of that
// digest.
func (k Key) Simple(payload []byte, signature, digest string) error {
	raw, err := base64.StdEncoding.DecodeString(signature)
	if err != nil {
		return errors.New("its signature is not base64")
	}
	if err := k.verify(payload, raw); err != nil {
		return err
	}
	return simplySigned(payload, digest)
}

// simplySigned is nil when the payload is about the digest.
func simplySigned(payload []byte, digest string) error {
	var p struct {
		Critical struct {
			Type  string
			Image struct {
				Digest string `json:"docker-manifest-digest"`
			}
		}
	}
	switch err := json.Unmarshal(payload, &p); {
	case err != nil || p.Critical.Type != "cosign container image signature":
		return errors.New("what was signed is no statement about an image")
	case p.Critical.Image.Digest != digest:
		return fmt.Errorf("it signs %s", fault.Said(p.Critical.Image.Digest, 80))
	}
	return nil
}

// bundle is what is needed of a sigstore bundle.
type bundle struct {
	Envelope *struct {
		Payload    []byte
		Type       string `json:"payloadType"`
		Signatures []struct{ Sig []byte }
	} `json:"dsseEnvelope"`
}

// Bundle is nil when the bundle says that the key's owner signed the image or index of that digest.
func (k Key) Bundle(data []byte, digest string) error {
	var b bundle
	if json.Unmarshal(data, &b) != nil || b.Envelope == nil || len(b.Envelope.Signatures) == 0 {
		return errors.New("it is no bundle with a signed statement")
	}
	e := b.Envelope
	message := preAuthentication(e.Type, e.Payload)
	err := errSignature
	for _, s := range e.Signatures {
		if err = k.verify(message, s.Sig); err == nil {
			break
		}
	}
	switch {
	case err != nil:
		return err
	case e.Type == SimpleSigning:
		return simplySigned(e.Payload, digest)
	case e.Type == "application/vnd.in-toto+json":
		return stated(e.Payload, digest)
	}
	return errors.New("what was signed is no statement about an image")
}

// preAuthentication is what a DSSE envelope's signature is of (DSSE v1.0.2, "PAE").
func preAuthentication(kind string, payload []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "DSSEv1 %d %s %d ", len(kind), kind, len(payload))
	b.Write(payload)
	return b.Bytes()
}

// signs is the predicate of a statement that means a signature, and no attestation of something else: an image with a
// list of its packages is not therefore trusted.
const signs = "https://sigstore.dev/cosign/sign/v1"

// stated is nil when the in-toto statement is a signature of the digest.
func stated(payload []byte, digest string) error {
	var s struct {
		PredicateType string
		Subject       []struct{ Digest map[string]string }
	}
	if json.Unmarshal(payload, &s) != nil || s.PredicateType != signs {
		return errors.New("what was signed is an attestation, and not the image")
	}
	algorithm, hex, _ := strings.Cut(digest, ":")
	for _, subject := range s.Subject {
		if subject.Digest[algorithm] == hex && hex != "" {
			return nil
		}
	}
	return errors.New("it signs another image")
}
