// Package leash keeps programs that we run, and all that these start, from outliving the time that they are given.
package leash

import (
	"os/exec"
	"syscall"
	"time"
)

// Put puts a command on the leash before it starts. When its context ends, so does its whole process group; what has left the
// group and still holds its output is waited for no longer than a second.
func Put(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = time.Second
}
