package repo

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"

	"github.com/ksera524/imgbump/internal/fault"
)

// Signer signs commits and tags.
type Signer interface {
	// Name says which key it is, for messages.
	Name() string
	// Sign is the armored signature of a commit or a tag, given as git hashes it without one.
	Sign(object []byte) ([]byte, error)
}

// signingKey is a key to sign with, as it was given.
type signingKey struct {
	text       []byte // private, or the public half of one that is in the agent
	name       string // says in messages where text is from
	file       string // "" when it is from none
	passphrase string
	agent      string // the SSH agent's socket, "" without one
}

// LoadSigner reads the key to sign with. What key names is a file, or "key::" and a public SSH key, as in git's
// user.signingKey; when it is "", IMGBUMP_SIGN_KEY holds the private key itself. Without either the Signer is nil. The
// format is "ssh" or "openpgp", by default what the key looks like. IMGBUMP_SIGN_KEY_PASSPHRASE unlocks it; an SSH key of
// which only the public half is given is used through the agent at SSH_AUTH_SOCK. Errors are of kind Usage.
func LoadSigner(key, format string, getenv func(string) string) (Signer, error) {
	switch {
	case format == "x509":
		return nil, fault.Usagef("sign with an SSH or an OpenPGP key", "--sign-format x509 is not supported")
	case format != "" && format != "ssh" && format != "openpgp":
		return nil, fault.Usagef("it is ssh or openpgp", "--sign-format %q is unknown", format)
	case key == "" && getenv("IMGBUMP_SIGN_KEY") == "" && format != "":
		return nil, fault.Usagef("name it with --sign-key, or set IMGBUMP_SIGN_KEY", "--sign-format %s, but there is no key to sign with", format)
	case key == "" && getenv("IMGBUMP_SIGN_KEY") == "":
		return nil, nil
	case strings.Contains(key, "PRIVATE KEY"): // which is on the command line for everybody to see by now
		return nil, fault.Usagef("name the file that holds it, or set IMGBUMP_SIGN_KEY", "--sign-key was given the private key itself")
	}
	k := signingKey{name: "IMGBUMP_SIGN_KEY", text: []byte(getenv("IMGBUMP_SIGN_KEY"))}
	if key != "" {
		var err error
		if k, err = namedKey(key); err != nil {
			return nil, k.refused("name a file that holds a private key", err)
		}
	}
	k.passphrase, k.agent = getenv("IMGBUMP_SIGN_KEY_PASSPHRASE"), getenv("SSH_AUTH_SOCK")
	return k.signer(format)
}

// namedKey is the key that --sign-key or user.signingKey names: a file, or a public key (git-config, "user.signingKey").
func namedKey(key string) (signingKey, error) {
	if literal, ok := strings.CutPrefix(key, "key::"); ok {
		return signingKey{name: "the key in the agent", text: []byte(literal)}, nil
	}
	k := signingKey{name: key, file: key}
	file, err := os.Open(key)
	if err != nil {
		return k, fault.Cause(err)
	}
	defer file.Close()
	k.text, err = io.ReadAll(io.LimitReader(file, 1<<20))
	return k, fault.Cause(err)
}

// refused is the error of a key that cannot be used.
func (k signingKey) refused(hint string, err error) error {
	return &fault.Error{Kind: fault.Usage, What: "sign with", Where: k.name, Hint: hint, Err: err}
}

func (k signingKey) signer(format string) (Signer, error) {
	looks := "ssh"
	switch text := bytes.TrimSpace(k.text); {
	case len(text) == 0:
		return nil, k.refused("it holds the private key and nothing else", errors.New("it is empty"))
	case bytes.Contains(text, []byte("-----BEGIN PGP ")) || text[0] >= 0x80: // a binary packet has the top bit set
		looks = "openpgp"
	case bytes.Contains(text, []byte("-----BEGIN CERTIFICATE-----")):
		return nil, k.refused("sign with an SSH or an OpenPGP key", errors.New("it is an X.509 certificate, and x509 signatures are not supported"))
	}
	if cmp.Or(format, looks) != looks {
		return nil, k.refused("leave --sign-format away", fmt.Errorf("it is not of the format %s", format))
	}
	if looks == "ssh" {
		return k.sshSigner()
	}
	return k.openPGPSigner()
}

// sign signs a commit, if anybody is to sign it.
func (r *Repo) sign(commit *object.Commit) error {
	r.signing.once.Do(func() { r.signing.by = r.findSigner("commit") })
	signer := r.signing.by
	if signer == nil {
		return nil
	}
	var err error
	commit.PGPSignature, err = signature(signer, commit.EncodeWithoutSignature) // the header is the same for all formats
	return err
}

// signature is that of an object, which encode writes as git hashes it without one.
func signature(signer Signer, encode func(plumbing.EncodedObject) error) (string, error) {
	var unsigned plumbing.MemoryObject
	if err := encode(&unsigned); err != nil {
		return "", err
	}
	reader, _ := unsigned.Reader()
	data, err := io.ReadAll(reader)
	if err != nil {
		return "", err
	}
	made, err := signer.Sign(data)
	if err != nil {
		return "", &fault.Error{What: "sign with", Where: signer.Name(), Err: err}
	}
	return string(made), nil
}

// findSigner is who signs what we make of a kind, "commit" or "tag": the one asked for, else who would sign git's. When that
// cannot be, it warns.
func (r *Repo) findSigner(kind string) Signer {
	if r.options.Signer != nil || r.options.Unsigned {
		return r.options.Signer
	}
	if !isTrue(r.config.value(kind, "", "gpgsign")) {
		return nil
	}
	signer, err := r.configuredSigner()
	if err != nil {
		r.options.Warn(fmt.Sprintf("git's %s.gpgSign asks for signed %[1]ss, but ours is not signed: %v; %s",
			kind, err, cmp.Or(fault.HintOf(err), "name a key with --sign-key")))
	}
	return signer
}

// configuredSigner is the Signer that git is configured for. No program is run for it, neither gpg nor ssh-keygen.
func (r *Repo) configuredSigner() (Signer, error) {
	getenv := r.options.Getenv
	key := r.config.value("user", "", "signingkey")
	switch format := cmp.Or(r.config.value("gpg", "", "format"), "openpgp"); {
	case format == "openpgp":
		return nil, &fault.Error{Err: errors.New("gpg's keyring is not read"),
			Hint: "export the key (gpg --export-secret-keys --armor), and name the file with --sign-key"}
	case format != "ssh":
		return nil, fmt.Errorf("gpg.format %s is not supported", format)
	case key == "":
		return nil, errors.New("user.signingKey is not set")
	case strings.HasPrefix(key, "ssh-"): // as git took it before there was key::
		key = "key::" + key
	case strings.HasPrefix(key, "~/"):
		key = filepath.Join(getenv("HOME"), key[2:])
	}
	if !strings.HasPrefix(key, "key::") && !filepath.IsAbs(key) { // it may be a file that somebody committed
		return nil, fmt.Errorf("user.signingKey %s is not an absolute path", key)
	}
	return LoadSigner(key, "ssh", getenv)
}
