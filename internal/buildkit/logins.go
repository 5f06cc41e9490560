package buildkit

import (
	"context"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/sha256"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// Logins let the daemon into registries.
type Logins interface {
	// Bearer reports whether we are logged in to a registry that takes tokens.
	Bearer(ctx context.Context, host string) bool

	// Token is a token for scopes, as long as its registry makes it good.
	Token(ctx context.Context, host string, scopes []string) (string, error)

	// Password is the login for a registry that takes nothing else, empty without one.
	Password(ctx context.Context, host string) (username, password string, err error)
}

// registry is the host that references have for one that the daemon asks about.
func registry(v value) string {
	host := v.text()
	if host == "registry-1.docker.io" {
		return dockerHub
	}
	return host
}

// signer is the key by which a daemon knows that two sessions have the same login: it goes with the host.
func (s *session) signer(host string, salt []byte) (ed25519.PrivateKey, error) {
	seed, err := hkdf.Key(sha256.New, s.key, salt, host, ed25519.SeedSize)
	return ed25519.NewKeyFromSeed(seed), err
}

// authority offers to fetch tokens, so that the daemon never sees the password.
func (s *session) authority(ctx context.Context, m message) (message, error) {
	host := registry(m.field(1))
	if !s.request.names(host) || !s.request.Logins.Bearer(ctx, host) {
		return nil, &status{code: codeUnimplemented, message: "nobody is logged in to " + host}
	}
	key, err := s.signer(host, m.field(2).bytes)
	if err != nil {
		return nil, err
	}
	return message{}.data(1, key.Public().(ed25519.PublicKey)), nil
}

// verify signs, as NaCl does: the signature, then what is signed.
func (s *session) verify(_ context.Context, m message) (message, error) {
	key, err := s.signer(registry(m.field(1)), m.field(3).bytes)
	if err != nil {
		return nil, err
	}
	payload := m.field(2).bytes
	return message{}.data(1, append(ed25519.Sign(key, payload), payload...)), nil
}

// token fetches one. Where from, the registry tells us and not the daemon; and what it is good for is to read, but for
// repositories that the build caches in.
func (s *session) token(ctx context.Context, m message) (message, error) {
	host := registry(m.field(2))
	var scopes []string
	_ = m.each(func(field protowire.Number, v value) error {
		if field == 5 {
			scopes = append(scopes, s.permitted(host, v.text())...)
		}
		return nil
	})
	if len(scopes) == 0 || !s.request.names(host) {
		return nil, &status{code: codePermissionDenied, message: "such a token is not given away"}
	}
	token, err := s.request.Logins.Token(ctx, host, scopes)
	if err != nil {
		return nil, err
	}
	return message{}.text(1, token).number(2, tokenLife), nil
}

// tokenLife is how long the daemon keeps a token before it asks again, in seconds; ours are good for longer.
const tokenLife = 10

// permitted is as much of a scope, TYPE:NAME:ACTION,ACTION, as the daemon may have.
func (s *session) permitted(host, scope string) []string {
	kind, rest, _ := strings.Cut(scope, ":")
	i := strings.LastIndex(rest, ":")
	if kind != "repository" || i < 0 {
		return nil
	}
	name, actions := rest[:i], []string{}
	for action := range strings.SplitSeq(rest[i+1:], ",") {
		if action == "pull" || action == "push" && s.request.caches(host, name) {
			actions = append(actions, action)
		}
	}
	if len(actions) == 0 {
		return nil
	}
	return []string{"repository:" + name + ":" + strings.Join(actions, ",")}
}

// password is for registries without tokens. For others it is an error: none would be an answer, by which a daemon knows
// another build that was logged in nowhere, and goes on with what that one got.
func (s *session) password(ctx context.Context, m message) (message, error) {
	host := registry(m.field(1))
	if !s.request.names(host) {
		return nil, nil
	}
	if s.request.Logins.Bearer(ctx, host) {
		return nil, &status{code: codePermissionDenied, message: "there are tokens for " + host}
	}
	username, password, err := s.request.Logins.Password(ctx, host)
	return message{}.text(1, username).text(2, password), err
}
