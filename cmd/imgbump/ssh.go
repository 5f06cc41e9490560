package main

import (
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/openssh"
	"github.com/spf13/pflag"
)

// sshFlags say how a git server is reached by SSH.
type sshFlags struct{ key, knownHosts string }

const sshEnvironment = `  IMGBUMP_SSH_KEY, IMGBUMP_SSH_KEY_PASSPHRASE
                 private key for SSH remotes, and what unlocks it or --ssh-key
`

func (f *sshFlags) bind(flags *pflag.FlagSet) {
	flags.StringVar(&f.key, "ssh-key", "", "`FILE` with the private key for an SSH remote (default: IMGBUMP_SSH_KEY, then as ssh is configured)")
	flags.StringVar(&f.knownHosts, "known-hosts", "", "`FILE` with the host keys of SSH servers (default: as ssh is configured; GitHub's are known)")
}

func (f *sshFlags) options(c *cli.Console) openssh.Options {
	passphrase := c.Getenv("IMGBUMP_SSH_KEY_PASSPHRASE")
	if passphrase != "" {
		c.Workflow.Mask(passphrase)
	}
	return openssh.Options{
		KeyFile: f.key, Key: c.Getenv("IMGBUMP_SSH_KEY"), KeyName: "IMGBUMP_SSH_KEY", Passphrase: passphrase, KnownHosts: f.knownHosts,
	}
}
