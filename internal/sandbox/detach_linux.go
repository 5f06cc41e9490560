package sandbox

import (
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// detach keeps a terminal's Ctrl-C from the command, which is ours to pass on, and sudo from that terminal.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }

// closeUp keeps other processes of this one's user from looking into it: it holds the build's secrets.
func closeUp() error { return unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0) }
