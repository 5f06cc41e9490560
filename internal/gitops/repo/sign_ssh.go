package repo

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"time"

	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// agentPatience is how long the agent may take to answer; its user may have to confirm, or to touch a token.
const agentPatience = time.Minute

// sshSigner signs as git does with gpg.format=ssh.
type sshSigner struct{ key ssh.Signer }

func (s sshSigner) Name() string { return "SSH key " + ssh.FingerprintSHA256(s.key.PublicKey()) }

func (s sshSigner) Sign(commit []byte) ([]byte, error) {
	signature, err := sshsig.Sign(bytes.NewReader(commit), s.key, sshsig.HashSHA512, "git")
	if err != nil {
		return nil, err
	}
	return sshsig.Armor(signature), nil
}

func (k signingKey) sshSigner() (Signer, error) {
	if public, _, _, _, err := ssh.ParseAuthorizedKey(k.text); err == nil {
		return k.privateHalf(public)
	}
	key, err := ssh.ParsePrivateKey(k.text)
	locked, isLocked := errors.AsType[*ssh.PassphraseMissingError](err)
	switch {
	case err == nil:
		return sshSigner{key}, nil
	case isLocked && k.passphrase == "":
		if locked.PublicKey != nil && agentHolds(k.agent, locked.PublicKey) == nil {
			return sshSigner{agentKey{k.agent, locked.PublicKey}}, nil
		}
		return nil, k.refused("set IMGBUMP_SIGN_KEY_PASSPHRASE, or add the key to the SSH agent", errors.New("it is locked with a passphrase"))
	case isLocked:
		key, err = ssh.ParsePrivateKeyWithPassphrase(k.text, []byte(k.passphrase))
	}
	switch {
	case err == nil:
		return sshSigner{key}, nil
	case errors.Is(err, x509.IncorrectPasswordError):
		return nil, k.refused("see what IMGBUMP_SIGN_KEY_PASSPHRASE holds", errors.New("the passphrase does not unlock it"))
	case bytes.Contains(k.text, []byte("BEGIN ENCRYPTED PRIVATE KEY")):
		return nil, k.refused("convert it: ssh-keygen -p -f FILE", errors.New("encrypted PKCS #8 is not supported"))
	case !bytes.Contains(k.text, []byte("PRIVATE KEY-----")):
		return nil, k.refused("it begins with a line like -----BEGIN OPENSSH PRIVATE KEY-----, or BEGIN PGP PRIVATE KEY BLOCK", errors.New("it holds no key"))
	}
	return nil, k.refused("is it whole, with its line breaks? Of a key on a security token name the public half, and have the SSH agent hold it", err)
}

// privateHalf signs with the key whose public half was given: through the agent, else from the file beside it, as
// ssh-keygen does.
func (k signingKey) privateHalf(public ssh.PublicKey) (Signer, error) {
	err := agentHolds(k.agent, public)
	if err == nil {
		return sshSigner{agentKey{k.agent, public}}, nil
	}
	if file, ok := strings.CutSuffix(k.file, ".pub"); ok {
		if beside, missing := namedKey(file); missing == nil {
			beside.passphrase, beside.agent = k.passphrase, k.agent
			signer, err := beside.sshSigner()
			if own, ok := signer.(sshSigner); ok && !bytes.Equal(own.key.PublicKey().Marshal(), public.Marshal()) {
				return nil, k.refused("name the private key", fmt.Errorf("%s is not its private half", file))
			}
			return signer, err
		}
	}
	return nil, k.refused("name the private key, or add it to the SSH agent", fmt.Errorf("it is a public key, and %w", err))
}

// agentKey is a key that the agent uses for us.
type agentKey struct {
	socket string
	public ssh.PublicKey
}

func (k agentKey) PublicKey() ssh.PublicKey { return k.public }

func (k agentKey) Sign(random io.Reader, data []byte) (*ssh.Signature, error) {
	return k.SignWithAlgorithm(random, data, "")
}

// SignWithAlgorithm is for RSA keys, which have several.
func (k agentKey) SignWithAlgorithm(_ io.Reader, data []byte, algorithm string) (signature *ssh.Signature, err error) {
	var flags agent.SignatureFlags
	if algorithm == ssh.KeyAlgoRSASHA512 {
		flags = agent.SignatureFlagRsaSha512
	}
	err = askAgent(k.socket, func(a agent.ExtendedAgent) error {
		signature, err = a.SignWithFlags(k.public, data, flags)
		return err
	})
	return signature, err
}

// agentHolds is nil when the agent has the private half of a key, else the reason why it cannot be used.
func agentHolds(socket string, public ssh.PublicKey) error {
	if socket == "" {
		return errors.New("no SSH agent runs (SSH_AUTH_SOCK)")
	}
	return askAgent(socket, func(a agent.ExtendedAgent) error {
		keys, err := a.List()
		if err != nil {
			return err
		}
		for _, key := range keys {
			if bytes.Equal(key.Blob, public.Marshal()) {
				return nil
			}
		}
		return errors.New("the SSH agent does not have its private half")
	})
}

func askAgent(socket string, question func(agent.ExtendedAgent) error) error {
	conn, err := net.Dial("unix", socket)
	if err != nil {
		return fmt.Errorf("the SSH agent cannot be reached: %w", err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(agentPatience)); err != nil {
		return err
	}
	return question(agent.NewClient(conn))
}
