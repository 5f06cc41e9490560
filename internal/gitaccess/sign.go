package gitaccess

import (
	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/gitops/repo"
)

// SignFlags say with which key something is signed.
type SignFlags struct{ what, key, format string }

// Bind declares the flags; what is what they sign: "commits".
func (f *SignFlags) Bind(flags *pflag.FlagSet, what string) {
	f.what = what
	flags.StringVar(&f.key, "sign-key", "", "sign "+what+" with the SSH or OpenPGP key in `FILE`, or with key::PUBLIC-SSH-KEY, which the agent holds (default: IMGBUMP_SIGN_KEY, then as git is configured)")
	flags.StringVar(&f.format, "sign-format", "", "`FORMAT` of the key: ssh or openpgp (default: what it looks like)")
}

// Given reports whether the flags ask for a signature.
func (f *SignFlags) Given() bool { return f.key != "" || f.format != "" }

// Signer signs with the key of the flags or of the environment; it is nil when git's configuration decides.
func (f *SignFlags) Signer(c *cli.Console) (repo.Signer, error) {
	if passphrase := c.Getenv("IMGBUMP_SIGN_KEY_PASSPHRASE"); passphrase != "" {
		c.Workflow.Mask(passphrase)
	}
	signer, err := repo.LoadSigner(f.key, f.format, c.Getenv)
	if signer != nil {
		c.Detailf("signing %s with the %s", f.what, signer.Name())
	}
	return signer, err
}
