package openssh

import (
	"cmp"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/ksera524/imgbump/internal/fault"
)

// keys are what a user may log in with, and what became of them.
type keys struct {
	asked      ssh.Signer // the key that was asked for: no other is offered
	files      []string   // private keys, or the public halves of an agent's
	explicit   bool       // files are configured, not the usual ones
	only       bool       // the agent's other keys are not offered
	socket     string     // of the agent, "" for none
	passphrase string

	mu      sync.Mutex
	offered []string
	unused  []string // files that cannot be offered, and why
	last    string   // the key that the server accepted
}

// keys finds out what to log in with. A key that was asked for must be usable; others are looked at when the server
// wants one.
func (c *config) keys(options Options) (*keys, error) {
	k := &keys{passphrase: options.Passphrase}
	switch {
	case options.KeyFile != "":
		data, err := os.ReadFile(options.KeyFile)
		if err != nil {
			return nil, fault.Usagef("name the file of a private key", "the key %s: %w", options.KeyFile, fault.Cause(err))
		}
		return k, k.ask(data, "the key "+options.KeyFile)
	case options.Key != "":
		return k, k.ask([]byte(options.Key), "the key in "+options.KeyName)
	}
	for _, o := range c.options {
		if o.keyword == "identityfile" {
			k.files = append(k.files, c.files(o.values...)...)
		}
	}
	if k.explicit = len(k.files) > 0; !k.explicit {
		k.files = c.files("~/.ssh/id_rsa", "~/.ssh/id_ecdsa", "~/.ssh/id_ecdsa_sk", "~/.ssh/id_ed25519", "~/.ssh/id_ed25519_sk")
	}
	k.only = c.yes("identitiesonly")
	socket := cmp.Or(c.value("identityagent"), "SSH_AUTH_SOCK")
	if name, ok := strings.CutPrefix(socket, "$"); ok || socket == "SSH_AUTH_SOCK" {
		socket = options.Getenv(name)
	}
	if socket = c.expand(socket); filepath.IsAbs(socket) {
		k.socket = socket
	}
	return k, nil
}

func (k *keys) ask(data []byte, name string) error {
	signer, err := k.parse(data)
	if err != nil {
		return fault.Usagef("ssh-keygen makes keys that work: PEM, with or without a passphrase in IMGBUMP_SSH_KEY_PASSPHRASE", "%s: %w", name, err)
	}
	k.asked = k.named(signer, name)
	return nil
}

var (
	errEncrypted  = errors.New("it is encrypted, and IMGBUMP_SSH_KEY_PASSPHRASE is not set")
	errPassphrase = errors.New("IMGBUMP_SSH_KEY_PASSPHRASE is not its passphrase")
)

// parse reads a private key. Its errors tell nothing of the content.
func (k *keys) parse(data []byte) (ssh.AlgorithmSigner, error) {
	signer, err := ssh.ParsePrivateKey(data)
	if _, encrypted := errors.AsType[*ssh.PassphraseMissingError](err); encrypted {
		if k.passphrase == "" {
			return nil, errEncrypted
		}
		signer, err = ssh.ParsePrivateKeyWithPassphrase(data, []byte(k.passphrase))
	}
	switch {
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, errPassphrase
	case err != nil:
		return nil, errors.New("it is not a private key that can be used here: FIDO keys and certificates work through an agent")
	}
	return signer.(ssh.AlgorithmSigner), nil // as all of the package's are
}

// namedKey tells when the server has accepted it, which is when it has to sign.
type namedKey struct {
	ssh.AlgorithmSigner
	name string
	keys *keys
}

func (k *keys) named(signer ssh.Signer, name string) ssh.Signer {
	return &namedKey{signer.(ssh.AlgorithmSigner), name + " (" + ssh.FingerprintSHA256(signer.PublicKey()) + ")", k}
}

func (n *namedKey) Sign(r io.Reader, data []byte) (*ssh.Signature, error) {
	n.keys.accepted(n.name)
	return n.AlgorithmSigner.Sign(r, data)
}

func (n *namedKey) SignWithAlgorithm(r io.Reader, data []byte, algorithm string) (*ssh.Signature, error) {
	n.keys.accepted(n.name)
	return n.AlgorithmSigner.SignWithAlgorithm(r, data, algorithm)
}

func (k *keys) accepted(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.last = name
}

func (k *keys) used() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return cmp.Or(k.last, "no key")
}

// login is one attempt, with the agent's connection, which signing needs.
type login struct {
	keys  *keys
	ctx   context.Context
	agent net.Conn
}

func (k *keys) offer(ctx context.Context) *login { return &login{keys: k, ctx: ctx} }

func (l *login) close() {
	if l.agent != nil {
		l.agent.Close()
	}
}

// signers are the keys in the order in which the server is asked about them: configured files, the agent's, the usual
// files. Each public key is offered once.
func (l *login) signers() ([]ssh.Signer, error) {
	k := l.keys
	k.mu.Lock()
	defer k.mu.Unlock()
	k.offered, k.unused, k.last = nil, nil, ""
	var found []ssh.Signer
	if k.asked != nil {
		found = []ssh.Signer{k.asked}
	} else {
		fromFiles, publics := k.fromFiles()
		fromAgent := l.fromAgent(publics)
		if k.explicit {
			found = append(fromFiles, fromAgent...)
		} else {
			found = append(fromAgent, fromFiles...)
		}
	}
	seen := map[string]bool{}
	found = slices.DeleteFunc(found, func(s ssh.Signer) bool {
		id := string(s.PublicKey().Marshal())
		defer func() { seen[id] = true }()
		return seen[id]
	})
	for _, signer := range found {
		k.offered = append(k.offered, signer.(*namedKey).name)
	}
	return found, nil
}

// fromFiles reads the private keys that can be read, and the public halves of them all.
func (k *keys) fromFiles() (signers []ssh.Signer, publics []ssh.PublicKey) {
	for _, file := range k.files {
		data, err := os.ReadFile(file)
		if err != nil {
			if k.explicit {
				k.unused = append(k.unused, fmt.Sprintf("%s: %v", file, fault.Cause(err)))
			}
			continue
		}
		half, err := os.ReadFile(file + ".pub")
		if err != nil {
			half = data
		}
		if public, _, _, _, err := ssh.ParseAuthorizedKey(half); err == nil {
			publics = append(publics, public)
		}
		if _, _, _, _, err := ssh.ParseAuthorizedKey(data); err == nil {
			continue // the agent has the other half
		}
		signer, err := k.parse(data)
		if err != nil {
			k.unused = append(k.unused, fmt.Sprintf("%s: %v", file, err))
			continue
		}
		signers, publics = append(signers, k.named(signer, "the key "+file)), append(publics, signer.PublicKey())
	}
	return signers, publics
}

// fromAgent are the agent's keys, those of the configured files first. FIDO keys and OpenSSH's certificates work this
// way alone.
func (l *login) fromAgent(publics []ssh.PublicKey) []ssh.Signer {
	k := l.keys
	if k.socket == "" {
		return nil
	}
	unusable := func(err error) []ssh.Signer {
		k.unused = append(k.unused, fmt.Sprintf("the agent at %s: %v", k.socket, err))
		return nil
	}
	conn, err := (&net.Dialer{Timeout: connectTimeout}).DialContext(l.ctx, "unix", k.socket)
	if err != nil {
		return unusable(errors.New("it does not answer"))
	}
	l.agent = conn
	if deadline, ok := l.ctx.Deadline(); ok {
		conn.SetDeadline(deadline)
	}
	signers, err := agent.NewClient(conn).Signers()
	if err != nil {
		return unusable(err)
	}
	var first, rest []ssh.Signer
	for _, signer := range signers {
		name := "the agent's key"
		if key, ok := signer.PublicKey().(*agent.Key); ok {
			name += fmt.Sprintf(" %.80q", key.Comment)
		}
		named := k.named(signer, name)
		switch {
		case slices.ContainsFunc(publics, func(p ssh.PublicKey) bool { return equal(p, signer.PublicKey()) }):
			first = append(first, named)
		case !k.only:
			rest = append(rest, named)
		}
	}
	return append(first, rest...)
}

// refused says why nobody could log in.
func (k *keys) refused() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	text := "there is no key to log in with"
	if len(k.offered) > 0 {
		text = "the server accepts none of: " + strings.Join(k.offered, ", ")
	}
	if len(k.unused) > 0 {
		text += "; not used: " + strings.Join(k.unused, ", ")
	}
	return text
}

func (k *keys) hint() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(k.offered) == 0 {
		return "name a private key with --ssh-key, put one into IMGBUMP_SSH_KEY, or start an agent (SSH_AUTH_SOCK)"
	}
	return "add the public half to the server (on GitHub as a deploy key with write access), or name another key with --ssh-key"
}
