package main

import (
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/spf13/pflag"
)

// signFlags say with which key commits are signed.
type signFlags struct{ key, format string }

const signEnvironment = `  IMGBUMP_SIGN_KEY, IMGBUMP_SIGN_KEY_PASSPHRASE
                 private key to sign commits with, SSH or OpenPGP, and what unlocks it or --sign-key
`

func (f *signFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.key, "sign-key", "", "sign commits with the SSH or OpenPGP key in `FILE`, or with key::PUBLIC-SSH-KEY, which the agent holds (default: IMGBUMP_SIGN_KEY, then as git is configured)")
	flags.StringVar(&f.format, "sign-format", "", "`FORMAT` of the key: ssh or openpgp (default: what it looks like)")
}

// check refuses a key that nothing would be signed with.
func (f *signFlags) check(commits bool, via string) error {
	switch {
	case f.key == "" && f.format == "":
		return nil
	case !commits:
		return fault.Usagef("add --commit or --push", "--sign-key signs commits, but none is asked for")
	case via == viaAPI:
		return fault.Usagef("leave one of them away", "commits through --via %s are signed by GitHub, not with --sign-key", via)
	}
	return nil
}

// signer is who signs our commits, nil when git's configuration decides.
func (f *signFlags) signer(c *cli.Console) (repo.Signer, error) {
	if passphrase := c.Getenv("IMGBUMP_SIGN_KEY_PASSPHRASE"); passphrase != "" {
		c.Workflow.Mask(passphrase)
	}
	signer, err := repo.LoadSigner(f.key, f.format, c.Getenv)
	if signer != nil {
		c.Detailf("commits are signed with the %s", signer.Name())
	}
	return signer, err
}
