package sandbox

import (
	"os/exec"
	"syscall"
)

// detach keeps a terminal's Ctrl-C from the command, which is ours to pass on, and sudo from that terminal.
func detach(c *exec.Cmd) { c.SysProcAttr = &syscall.SysProcAttr{Setsid: true} }
