package repo

import (
	"bytes"
	"errors"
	"fmt"
	"time"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// openPGPSigner signs as gpg does for git.
type openPGPSigner struct{ key openpgp.Key }

func (s openPGPSigner) Name() string {
	return fmt.Sprintf("OpenPGP key %X", s.key.PublicKey.Fingerprint)
}

func (s openPGPSigner) Sign(commit []byte) ([]byte, error) {
	var signature bytes.Buffer
	err := openpgp.ArmoredDetachSign(&signature, s.key.Entity, bytes.NewReader(commit), &packet.Config{SigningKeyId: s.key.PublicKey.KeyId})
	return signature.Bytes(), err
}

func (k signingKey) openPGPSigner() (Signer, error) {
	read := openpgp.ReadKeyRing
	if bytes.Contains(k.text, []byte("-----BEGIN PGP ")) {
		read = openpgp.ReadArmoredKeyRing
	}
	entities, err := read(bytes.NewReader(k.text))
	if err != nil {
		return nil, k.refused("is it whole, with its line breaks? gpg --export-secret-keys --armor ID writes one", err)
	}
	now := time.Now()
	for _, entity := range entities {
		key, ok := signingKeyOf(entity, now)
		switch {
		case !ok:
			continue
		case key.PrivateKey.Encrypted && k.passphrase == "":
			return nil, k.refused("set IMGBUMP_SIGN_KEY_PASSPHRASE", errors.New("it is locked with a passphrase"))
		case key.PrivateKey.Encrypted && key.PrivateKey.Decrypt([]byte(k.passphrase)) != nil:
			return nil, k.refused("see what IMGBUMP_SIGN_KEY_PASSPHRASE holds", errors.New("the passphrase does not unlock it"))
		}
		return openPGPSigner{key}, nil
	}
	return nil, k.refused("gpg --export-secret-keys --armor ID exports one that is whole", whyNot(entities, now))
}

// signingKeyOf is the newest subkey that may sign now and whose secret is here, else the primary key under the same
// conditions.
func signingKeyOf(entity *openpgp.Entity, now time.Time) (best openpgp.Key, found bool) {
	consider := func(id uint64) {
		key, ok := entity.SigningKeyById(now, id)
		if ok && isSecret(key.PrivateKey) && (!found || key.PublicKey.CreationTime.After(best.PublicKey.CreationTime)) {
			best, found = key, true
		}
	}
	for _, subkey := range entity.Subkeys {
		consider(subkey.PublicKey.KeyId)
	}
	if !found {
		consider(entity.PrimaryKey.KeyId)
	}
	return best, found
}

// isSecret reports whether a private key is more than the placeholder of one that is kept elsewhere.
func isSecret(key *packet.PrivateKey) bool { return key != nil && !key.Dummy() }

// whyNot says what keeps the first key from signing.
func whyNot(entities openpgp.EntityList, now time.Time) error {
	if len(entities) == 0 {
		return errors.New("it holds no key")
	}
	entity := entities[0]
	secret := isSecret(entity.PrivateKey)
	for _, subkey := range entity.Subkeys {
		secret = secret || isSecret(subkey.PrivateKey)
	}
	self, _ := entity.PrimarySelfSignature()
	switch {
	case !secret:
		return errors.New("it is a public key, without the private half")
	case entity.Revoked(now):
		return errors.New("it is revoked")
	case self != nil && self.KeyLifetimeSecs != nil && entity.PrimaryKey.KeyExpired(self, now):
		return fmt.Errorf("it expired on %s", entity.PrimaryKey.CreationTime.Add(time.Duration(*self.KeyLifetimeSecs)*time.Second).Format(time.DateOnly))
	}
	return errors.New("none of its keys may sign: they are for other uses, expired, revoked, or without their private half")
}
