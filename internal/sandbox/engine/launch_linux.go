package engine

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// maxOutput is how much a step may print, so that one in a loop fills neither a log nor a disk.
const maxOutput = 100 << 20

// lastWords is how long the end of a step's output is waited for after its end.
const lastWords = 2 * time.Second

// launch starts a child of this program as kind, which becomes what s tells, and waits for its end. When ctx ends, the
// child gets kill.
func launch(ctx context.Context, kind string, s *spec, attr *syscall.SysProcAttr, kill os.Signal, output io.Writer) error {
	c, err := newChild(kind, attr)
	if err != nil {
		return err
	}
	defer c.close()
	runtime.LockOSThread() // the child's parent is this thread: the child is to end with it, not earlier
	defer runtime.UnlockOSThread()
	if err := c.start(); err != nil {
		var e syscall.Errno
		if errors.As(err, &e) {
			return failed(cloneCall, "", e)
		}
		return &obstacle{Text: err.Error()}
	}
	defer c.ended()
	stop := context.AfterFunc(ctx, func() { c.command.Process.Signal(kill) })
	defer stop()
	go func() { c.spec.encode(s) }()
	copied := make(chan struct{})
	go func() { copyOutput(output, c.output); close(copied) }()
	met := c.obstacle()
	code := c.wait()
	c.output.SetReadDeadline(time.Now().Add(lastWords))
	<-copied
	switch {
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case met != nil:
		return met
	}
	return code
}

// cloneCall is what fails when no namespaces can be had.
const cloneCall = "clone"

// child is a process with the pipes to it.
type child struct {
	command     *exec.Cmd
	spec        pipe
	status, end *os.File
	output      *os.File
	others      []*os.File // the child's ends
}

type pipe struct{ *os.File }

func (p pipe) encode(s *spec) {
	gob.NewEncoder(p).Encode(s) // which fails only if the child has ended, and then that is told
	p.Close()
}

func newChild(kind string, attr *syscall.SysProcAttr) (c *child, err error) {
	c = &child{command: exec.Command("/proc/self/exe", verb, kind)}
	c.command.SysProcAttr, c.command.Env, c.command.Dir = attr, []string{}, "/"
	open := func() (r, w *os.File) {
		if err == nil {
			r, w, err = os.Pipe()
		}
		return r, w
	}
	var specR, statusW, endW, outputW *os.File
	specR, c.spec.File = open()
	c.status, statusW = open()
	c.end, endW = open()
	c.output, outputW = open()
	c.others = []*os.File{specR, statusW, endW, outputW}
	c.command.ExtraFiles = c.others[:3]
	c.command.Stdout, c.command.Stderr = outputW, outputW
	if err != nil {
		c.close()
		return nil, failed("pipe", "", err)
	}
	return c, nil
}

func (c *child) start() error {
	launched.Lock()
	defer launched.Unlock()
	if err := c.command.Start(); err != nil {
		return err
	}
	launched.pids[c.command.Process.Pid] = true
	c.closeOthers()
	return nil
}

func (c *child) ended() {
	launched.Lock()
	defer launched.Unlock()
	delete(launched.pids, c.command.Process.Pid)
}

func (c *child) closeOthers() {
	for _, f := range c.others {
		f.Close()
	}
}

func (c *child) close() {
	c.closeOthers()
	for _, f := range []*os.File{c.spec.File, c.status, c.end, c.output} {
		f.Close()
	}
}

// obstacle waits until the child has become what it is to be, which is nil, or has said why it could not.
func (c *child) obstacle() error {
	met := new(obstacle)
	if err := gob.NewDecoder(c.status).Decode(met); err != nil {
		return nil
	}
	return met
}

// wait is how the child ended: nil or an ExitError. Another process may have told it on the child's behalf.
func (c *child) wait() error {
	err := c.command.Wait()
	var status unix.WaitStatus
	if n := binaryStatus(c.end); n >= 0 {
		status = unix.WaitStatus(n)
	} else if c.command.ProcessState != nil {
		status = unix.WaitStatus(c.command.ProcessState.Sys().(syscall.WaitStatus))
	} else {
		return err
	}
	switch {
	case status.Signaled():
		return &step.ExitError{Code: 128 + int(status.Signal()), Signal: unix.SignalName(status.Signal())}
	case status.ExitStatus() != 0:
		return &step.ExitError{Code: status.ExitStatus()}
	}
	return nil
}

// binaryStatus is the wait status that was written to a pipe, -1 if none was.
func binaryStatus(end *os.File) int64 {
	var status uint32
	if gob.NewDecoder(end).Decode(&status) != nil {
		return -1
	}
	return int64(status)
}

// copyOutput copies what a step prints, up to a bound; what comes after is read and dropped, so that the step goes on.
func copyOutput(to io.Writer, from io.Reader) {
	_, err := io.Copy(to, io.LimitReader(from, maxOutput))
	if err == nil {
		if n, _ := io.CopyN(io.Discard, from, 1); n > 0 {
			fmt.Fprintf(to, "\n[the output is longer than %d MiB: the rest is not shown]\n", maxOutput>>20)
		}
	}
	io.Copy(io.Discard, from)
}
