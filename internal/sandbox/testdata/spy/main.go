// Spy tries what one process can do to another of its own user, and prints what is not refused.
package main

import (
	"fmt"
	"log"
	"os"
	"runtime"
	"strconv"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

func main() {
	pid, err := strconv.Atoi(os.Args[1])
	if err != nil {
		log.Fatal(err)
	}
	victim := uintptr(pid)
	runtime.LockOSThread()
	if os.Args[2] == "session" {
		id, err := unix.KeyctlInt(unix.KEYCTL_GET_KEYRING_ID, unix.KEY_SPEC_SESSION_KEYRING, 0, 0, 0)
		fmt.Println("session", id, err)
		return
	}
	if os.Args[2] == "x32" { // which most kernels do not know, and some do
		tell("x32", call(1<<30|unix.SYS_GETPID, 0, 0, 0, 0, 0, 0))
		return
	}
	if os.Args[2] == "32" {
		tell("ptrace of 32 bits", compat(26, unix.PTRACE_SEIZE, victim, 0, 0))
		tell("harmless", compat(20, 0, 0, 0, 0)) // getpid
		return
	}
	tell("keyctl", call(unix.SYS_KEYCTL, unix.KEYCTL_GET_KEYRING_ID, ^uintptr(2), 1, 0, 0, 0)) // that of the session
	tell("add_key", call(unix.SYS_ADD_KEY, 0, 0, 0, 0, 0, 0))
	tell("request_key", call(unix.SYS_REQUEST_KEY, 0, 0, 0, 0, 0, 0))
	tell("bpf", call(unix.SYS_BPF, 1000, 0, 0, 0, 0, 0))
	tell("perf_event_open", call(unix.SYS_PERF_EVENT_OPEN, 0, victim, 0, 0, 0, 0))
	tell("userfaultfd", call(unix.SYS_USERFAULTFD, unix.O_CLOEXEC, 0, 0, 0, 0, 0))
	tell("kcmp", call(unix.SYS_KCMP, victim, victim, 0, 0, 0, 0))
	var memory [8]byte
	local := unix.Iovec{Base: &memory[0], Len: 8}
	remote := unix.RemoteIovec{Base: 0x1000, Len: 8}
	for name, number := range map[string]uintptr{"process_vm_readv": unix.SYS_PROCESS_VM_READV, "process_vm_writev": unix.SYS_PROCESS_VM_WRITEV} {
		tell(name, call(number, victim, uintptr(unsafe.Pointer(&local)), 1, uintptr(unsafe.Pointer(&remote)), 1, 0))
	}
	if fd, err := unix.PidfdOpen(pid, 0); err == nil {
		tell("pidfd_getfd", call(unix.SYS_PIDFD_GETFD, uintptr(fd), 0, 0, 0, 0, 0))
		tell("setns", call(unix.SYS_SETNS, uintptr(fd), unix.CLONE_NEWNS, 0, 0, 0, 0))
	}
	tell("ptrace", call(unix.SYS_PTRACE, unix.PTRACE_SEIZE, victim, 0, 0, 0, 0))
}

func tell(what string, e syscall.Errno) {
	if e != unix.EPERM {
		fmt.Printf("%s: %d\n", what, int(e))
	}
}

func call(number, a, b, c, d, e, f uintptr) syscall.Errno {
	_, _, errno := syscall.RawSyscall6(number, a, b, c, d, e, f)
	return errno
}
