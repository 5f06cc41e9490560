package engine

import (
	"bytes"
	"encoding/gob"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// supervise starts a step in a chroot, waits for it, and ends all that it has left behind: what has lost its parent is
// adopted by this process. It is asked to end early by SIGTERM.
func supervise() error {
	runtime.LockOSThread() // the child ends with the thread that started it
	unix.CloseOnExec(endFD)
	end := os.NewFile(endFD, "end")
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return failed("prctl", "", err)
	}
	asked := make(chan os.Signal, 1)
	signal.Notify(asked, unix.SIGTERM)
	pid, err := syscall.ForkExec("/proc/self/exe", []string{"step", verb, insideChroot}, &syscall.ProcAttr{
		Files: []uintptr{0, 1, 2, specFD, statusFD}, Env: []string{}, Sys: &syscall.SysProcAttr{Setsid: true, Pdeathsig: syscall.SIGKILL},
	})
	if err != nil {
		return failed("start a process", "", err)
	}
	unix.Close(specFD)
	unix.Close(statusFD)
	go func() {
		<-asked
		for {
			unix.Kill(-pid, unix.SIGKILL)
			signalAll(family(kin(), os.Getpid()))
		}
	}()
	status := waitFor(pid)
	for !reaped() {
		unix.Kill(-pid, unix.SIGKILL) // the group that the step began as
		signalAll(family(kin(), os.Getpid()))
	}
	return gob.NewEncoder(end).Encode(uint32(status))
}

// waitFor waits for a child, and for those adopted meanwhile.
func waitFor(pid int) unix.WaitStatus {
	for {
		var status unix.WaitStatus
		got, err := unix.Wait4(-1, &status, 0, nil)
		if got == pid || err != nil && !errors.Is(err, unix.EINTR) {
			return status
		}
	}
}

// reaped takes leave of all children that have ended, and reports whether none is left.
func reaped() bool {
	for {
		pid, err := unix.Wait4(-1, nil, unix.WNOHANG, nil)
		if errors.Is(err, unix.ECHILD) {
			return true
		}
		if pid <= 0 {
			return false
		}
	}
}

// signalAll ends processes and their groups. Those that fork without end are faster than a list of them; but a group gets
// its signal at once, and no member can fork then.
func signalAll(pids []int) {
	for _, group := range groups(pids) {
		unix.Kill(-group, unix.SIGKILL)
	}
	for _, pid := range pids {
		unix.Kill(pid, unix.SIGKILL)
	}
}

// groups are those that processes are in, but ours, each once: the kernel goes through all members of one for a signal.
func groups(pids []int) []int {
	seen := map[int]bool{unix.Getpgrp(): true}
	var all []int
	for _, pid := range pids {
		if group, err := unix.Getpgid(pid); err == nil && !seen[group] {
			seen[group] = true
			all = append(all, group)
		}
	}
	return all
}

// family are all descendants of some processes, by what tells the children of one.
func family(children func(int) []int, of ...int) []int {
	var all []int
	for _, pid := range of {
		all = append(all, children(pid)...)
	}
	for i := 0; i < len(all); i++ {
		all = append(all, children(all[i])...)
	}
	return all
}

// kin tells the children of processes: by files that the kernel has for it, or where it has not, from all processes.
func kin() func(int) []int {
	if files, _ := filepath.Glob("/proc/self/task/*/children"); len(files) > 0 {
		return childrenOf
	}
	return lookAround()
}

func childrenOf(pid int) []int {
	var all []int
	files, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	for _, file := range files {
		text, _ := os.ReadFile(file) // it may have ended
		for _, field := range strings.Fields(string(text)) {
			if child, err := strconv.Atoi(field); err == nil {
				all = append(all, child)
			}
		}
	}
	return all
}

func lookAround() func(int) []int {
	children := map[int][]int{}
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		after := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:]) // the name before may hold anything
		pid, err1 := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if len(after) < 2 || err1 != nil {
			continue
		}
		if above, err := strconv.Atoi(string(after[1])); err == nil {
			children[above] = append(children[above], pid)
		}
	}
	return func(pid int) []int { return children[pid] }
}

// launched are the children that launch waits for. Others are those of a step whose supervisor did not live to end them.
var launched = struct {
	sync.Mutex
	pids map[int]bool
}{pids: map[int]bool{}}

// patience is how long what a step left is tried to be ended, when its supervisor could not.
const patience = 20 * time.Second

// ending is held while orphans are ended, so that none is taken leave of twice.
var ending sync.Mutex

// endOrphans ends what a step left to this process by ending its supervisor. It is an error if something lives on.
func endOrphans(patience time.Duration) error {
	ending.Lock()
	defer ending.Unlock()
	for deadline := time.Now().Add(patience); ; time.Sleep(time.Millisecond) {
		orphans, below := orphaned()
		if len(orphans) == 0 {
			return nil
		}
		signalAll(append(below, orphans...))
		for _, pid := range orphans {
			unix.Wait4(pid, nil, unix.WNOHANG, nil)
		}
		if time.Now().After(deadline) {
			return &obstacle{Call: "end the processes that the step left", Text: strconv.Itoa(len(orphans)) + " do not end"}
		}
	}
}

// orphaned are the children of this process that it has not started, and all that come of those.
func orphaned() (orphans, below []int) {
	launched.Lock()
	defer launched.Unlock()
	children := kin()
	orphans = slices.DeleteFunc(children(os.Getpid()), func(pid int) bool { return launched.pids[pid] })
	return orphans, family(children, orphans...)
}
