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

// start is how a child of this program starts and ends.
type start struct {
	as   string // what Main is called with
	attr *syscall.SysProcAttr
	pipe *pipe // for its output, nil for a new one
}

// launch starts a child, which becomes what s tells, and waits for its end.
func launch(ctx context.Context, s *spec, how start, output io.Writer) error {
	c, err := newChild(how)
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
	defer context.AfterFunc(ctx, func() { c.command.Process.Kill() })()
	go func() {
		gob.NewEncoder(c.spec).Encode(s) // which fails only if the child has ended, and then that is told
		c.spec.Close()
	}()
	copied := make(chan struct{})
	go func() { copyOutput(output, c.output); close(copied) }()
	met := c.obstacle()
	code := c.wait()
	patience := lastWords
	if ctx.Err() != nil {
		patience = 0
	}
	c.output.SetReadDeadline(time.Now().Add(patience))
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

// pipe is both ends of one.
type pipe struct{ read, write *os.File }

func newPipe() (*pipe, error) {
	r, w, err := os.Pipe()
	return &pipe{r, w}, failed("pipe", "", err)
}

func (p *pipe) close() {
	p.read.Close()
	p.write.Close()
}

// child is a process with our ends of the pipes to it.
type child struct {
	command             *exec.Cmd
	spec                *os.File
	status, end, output *os.File
	pipes               []*pipe
	theirs              []*os.File // the child's ends
}

func newChild(how start) (*child, error) {
	c := &child{command: exec.Command("/proc/self/exe", verb, how.as)}
	if how.pipe != nil {
		c.pipes = append(c.pipes, how.pipe)
	}
	for len(c.pipes) < 4 {
		p, err := newPipe()
		if err != nil {
			c.close()
			return nil, err
		}
		c.pipes = append(c.pipes, p)
	}
	output, spec, status, end := c.pipes[0], c.pipes[1], c.pipes[2], c.pipes[3]
	c.output, c.spec, c.status, c.end = output.read, spec.write, status.read, end.read
	c.theirs = []*os.File{spec.read, status.write, end.write, output.write}
	c.command.Stdout, c.command.Stderr, c.command.ExtraFiles = output.write, output.write, c.theirs[:3]
	c.command.SysProcAttr, c.command.Env, c.command.Dir = how.attr, []string{}, "/"
	return c, nil
}

func (c *child) start() error {
	launched.Lock()
	defer launched.Unlock()
	if err := c.command.Start(); err != nil {
		return err
	}
	launched.pids[c.command.Process.Pid] = true
	c.closeTheirs()
	return nil
}

func (c *child) ended() {
	launched.Lock()
	defer launched.Unlock()
	delete(launched.pids, c.command.Process.Pid)
}

func (c *child) closeTheirs() {
	for _, f := range c.theirs {
		f.Close()
	}
}

func (c *child) close() {
	for _, p := range c.pipes {
		p.close()
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
	if n := reported(c.end); n >= 0 {
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

// reported is the wait status that was written to a pipe, -1 if none was.
func reported(end *os.File) int64 {
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
