package main

import (
	"os"

	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/rogpeppe/go-internal/testscript"
)

// sshServe KEY serves the git server's repository through sshd to those who have the private key that it writes to KEY.
// It sets $SSH_URL, and writes the server's host keys to KEY.known_hosts.
func sshServe(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: ssh-serve KEY")
	}
	file := ts.MkAbs(args[0])
	public, err := gittest.Keygen(file)
	ts.Check(err)
	s := ts.Value(serverKey{}).(*server)
	ssh, err := s.SSH(public)
	ts.Check(err)
	ts.Defer(func() { ssh.Close() })
	ts.Check(os.WriteFile(file+".known_hosts", []byte(ssh.KnownHosts), 0o600))
	ts.Setenv("SSH_URL", ssh.URL(s.repository))
}
