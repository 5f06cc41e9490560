package engine

import (
	"encoding/gob"
	"errors"
	"fmt"
	"math"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// What Main is called with: nothing for the privileged side itself, or the name of one of its own children.
const (
	insideNamespaces = "userns" // becomes a step in namespaces
	aboveChroot      = "chroot" // starts a step and ends all that it leaves
	insideChroot     = "enter"  // becomes a step in a chroot
)

// Main is the life of a process that was started as the privileged side, or by it. It returns the exit code.
func Main(args []string) int {
	if len(args) == 0 {
		return told(keep(os.Stdin, os.Stdout))
	}
	switch args[0] {
	case insideNamespaces:
		return become(enterNamespaces)
	case aboveChroot:
		return told(supervise())
	case insideChroot:
		return become(enterChroot)
	}
	return told(fmt.Errorf("this command is not for people"))
}

func told(err error) int {
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	return 1
}

// become reads what to be from the file descriptor that launch leaves, and is that from then on. It returns only when
// that did not work, after it has said why, or when trying was all that was asked for.
func become(enter func(*spec) error) int {
	read, write := os.NewFile(specFD, "spec"), os.NewFile(statusFD, "status")
	if err := unix.CloseRange(3, math.MaxInt32, unix.CLOSE_RANGE_CLOEXEC); err != nil {
		return told(failed("close_range", "", err))
	}
	runtime.LockOSThread() // for good: capabilities, keys and filters belong to threads
	var s spec
	err := gob.NewDecoder(read).Decode(&s)
	if err == nil {
		err = forgetKeys()
	}
	if err == nil {
		err = enter(&s)
	}
	if err == nil {
		return 0
	}
	gob.NewEncoder(write).Encode(newObstacle(err))
	return 1
}

// forgetKeys leaves the session whose keys the kernel keeps for whoever started the build. Where a pod forbids the call, it
// forbids it to the step too.
func forgetKeys() error {
	_, err := unix.KeyctlInt(unix.KEYCTL_JOIN_SESSION_KEYRING, 0, 0, 0, 0)
	if errors.Is(err, unix.EPERM) || errors.Is(err, unix.ENOSYS) {
		return nil
	}
	return failed("keyctl", "", err)
}
