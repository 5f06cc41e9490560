package engine

import (
	"os/exec"
	"slices"
	"syscall"
	"testing"
	"time"
)

// sleeper starts a process that nobody waits for, in a group of its own or in another.
func sleeper(t *testing.T, group int) int {
	t.Helper()
	c := exec.Command("sleep", "1000")
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pgid: group}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Process.Kill()
		c.Wait()
	})
	return c.Process.Pid
}

// A group gets one signal, however many are in it, and our own none.
func TestGroups(t *testing.T) {
	first := sleeper(t, 0)
	second, other := sleeper(t, first), sleeper(t, 0)
	if got := groups([]int{syscall.Getpid(), first, second, other, second}); !slices.Equal(got, []int{first, other}) {
		t.Errorf("%v, want %d and %d", got, first, other)
	}
}

// What cannot be ended in time is an error, for a layer must not be made while it lives.
func TestOrphans(t *testing.T) {
	if err := endOrphans(0); err != nil {
		t.Errorf("nothing is there: %v", err)
	}
	orphan := sleeper(t, 0)
	if err := endOrphans(-time.Second); err == nil {
		t.Error("nothing is said of a process that had no time to end")
	}
	if err := endOrphans(time.Minute); err != nil {
		t.Error(err)
	}
	if err := syscall.Kill(orphan, 0); err == nil {
		t.Error("it lives")
	}
}
