package engine

import (
	"errors"
	"fmt"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// The file descriptors of a step's process before it becomes the step.
const (
	specFD   = 3 + iota // to read its spec
	statusFD            // to write an obstacle
	endFD               // aboveChroot: to write how the step ended
)

// spec is what a child of the privileged side is to become.
type spec struct {
	Process step.Process
	Store   string // folder that the names below are in
	Hosts   string // content of /etc/hosts
	Resolv  string // content of /etc/resolv.conf
	Try     bool   // do all but the process

	// In namespaces.
	Lower  []string // the stack, the uppermost first
	Upper  string   // where changes go
	Work   string   // overlayfs' own
	Stubs  string   // for a layer of what is only there to be mounted on
	Scene  string   // folder to mount things in
	Mounts []mount  // in the order of their targets

	// In a chroot.
	Root string
}

// mount is one of a process' mounts, with the places in the store that it needs.
type mount struct {
	step.Mount
	Lower       []string // of a bind, the uppermost first
	Upper, Work string   // of a bind that is not read-only
	From        string   // of a cache and a socket
}

// obstacle is a system call that failed while a step was prepared.
type obstacle struct {
	Call  string // as a person would name it
	On    string // what it was about, may be ""
	Errno unix.Errno
	Text  string // instead of Errno
}

func (o *obstacle) Error() string {
	text := o.Call
	if o.On != "" {
		text += " " + brief(o.On)
	}
	switch {
	case o.Text == "":
		return text + ": " + o.Errno.Error()
	case text == "":
		return o.Text
	}
	return text + ": " + o.Text
}

// brief is a name that stays readable: a command line that was taken for a name may be very long.
func brief(name string) string {
	const most = 300 // bytes
	if len(name) <= most {
		return name
	}
	return strings.ToValidUTF8(name[:most], "") + "…"
}

func (o *obstacle) Unwrap() error {
	if o.Errno == 0 {
		return nil
	}
	return o.Errno
}

// failed is an obstacle, and nil when there is no error.
func failed(call, on string, err error) error {
	if err == nil {
		return nil
	}
	o := &obstacle{Call: call, On: on}
	if !errors.As(err, &o.Errno) {
		o.Text = err.Error()
	}
	return o
}

// newObstacle is err for the way to another process.
func newObstacle(err error) *obstacle {
	var o *obstacle
	if !errors.As(err, &o) {
		o = &obstacle{Text: err.Error()}
	}
	return o
}

// inProc is a path that leads to an open file, for calls that take only paths.
func inProc(fd int) string { return fmt.Sprintf("/proc/self/fd/%d", fd) }
