package webhook

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"net/http"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// Secret is what a sender shows, or signs with. It does not print.
type Secret string

// String keeps the secret out of what is printed.
func (Secret) String() string { return "(secret)" }

// GoString keeps it out of %#v.
func (Secret) GoString() string { return "(secret)" }

// MarshalText keeps it out of JSON and of structured logs.
func (Secret) MarshalText() ([]byte, error) { return []byte("(secret)"), nil }

// check refuses what cannot be shown in a header: it would never match, and nobody would see why.
func (s Secret) check(kind Kind) error {
	if s == "" {
		return fault.Usagef("to take webhooks from anybody, leave the secret out and open the type", "the secret for webhooks of type %s is empty", kind)
	}
	if strings.TrimSpace(string(s)) != string(s) || strings.ContainsFunc(string(s), func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return fault.Usagef("take the line's end off", "the secret for webhooks of type %s begins or ends with white space, or has a control character", kind)
	}
	return nil
}

// shown reports whether a request shows the secret: as Authorization, with or without "Bearer", as X-Webhook-Secret, or as
// secret in the address, for registries that can set nothing else.
func (s Secret) shown(r *http.Request) bool {
	authorization := r.Header.Get("Authorization")
	given := []string{authorization, strings.TrimPrefix(authorization, "Bearer "), r.Header.Get("X-Webhook-Secret"), r.URL.Query().Get("secret")}
	found := 0
	for _, text := range given {
		found |= s.equals(text)
	}
	return found == 1
}

// equals is 1 if text is the secret. Digests are compared, in constant time, so that neither letters nor length show in how
// long it takes.
func (s Secret) equals(text string) int {
	a, b := sha256.Sum256([]byte(s)), sha256.Sum256([]byte(text))
	return subtle.ConstantTimeCompare(a[:], b[:])
}

// signed reports whether signature, GitHub's X-Hub-Signature-256, is the body's.
func (s Secret) signed(body []byte, signature string) bool {
	given, err := hex.DecodeString(strings.TrimPrefix(signature, "sha256="))
	if err != nil {
		return false
	}
	mac := hmac.New(sha256.New, []byte(s))
	mac.Write(body)
	return hmac.Equal(given, mac.Sum(nil))
}
