package engine

import (
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// abi is one way in which programs of a processor call the kernel, and the numbers of the calls that are refused in it.
type abi struct {
	arch    uint32
	refused []uint32
}

// spying are the calls by which a process reads or changes another one, or takes keys that are not its own. Nobody needs
// a right for most of them but the same user id, which a step that shares the pod's processes can have. setns leads into
// the namespaces of such a process.
var spying = []uint32{
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_PIDFD_GETFD, unix.SYS_KCMP, unix.SYS_SETNS,
	unix.SYS_PERF_EVENT_OPEN, unix.SYS_BPF, unix.SYS_USERFAULTFD, unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
}

// abis are those of a processor, with spying's numbers in the ones of 32 bits.
var abis = map[string][]abi{
	"amd64": {{unix.AUDIT_ARCH_X86_64, spying}, {unix.AUDIT_ARCH_I386, []uint32{26, 347, 348, 438, 349, 346, 336, 357, 374, 288, 286, 287}}},
	"arm64": {{unix.AUDIT_ARCH_AARCH64, spying}, {unix.AUDIT_ARCH_ARM, []uint32{26, 376, 377, 438, 378, 375, 364, 386, 388, 311, 309, 310}}},
}

// confine takes spying away from this thread and all that comes of it, for good. With it goes what programs with a
// set-user-ID bit or capabilities of their own would gain.
func confine() error {
	known, ok := abis[runtime.GOARCH]
	if !ok {
		return &obstacle{Call: "confine a step", Text: "there is no filter for the processor " + runtime.GOARCH}
	}
	if err := unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); err != nil {
		return failed("prctl", "", err)
	}
	program := filter(known)
	p := unix.SockFprog{Len: uint16(len(program)), Filter: &program[0]}
	if _, _, e := unix.RawSyscall(unix.SYS_PRCTL, unix.PR_SET_SECCOMP, unix.SECCOMP_MODE_FILTER, uintptr(unsafe.Pointer(&p))); e != 0 {
		return failed("seccomp", "", e)
	}
	return nil
}

// Where the kernel's struct seccomp_data has what a filter looks at.
const (
	callNumber = 0
	callArch   = 4
)

// x32 is set in the numbers of an ABI that has the arch of x86-64.
const x32 = 1 << 30

// filter is a program for the kernel that refuses calls with EPERM, and ends whoever calls in an ABI that is not known.
func filter(known []abi) []unix.SockFilter {
	const (
		load   = unix.BPF_LD | unix.BPF_W | unix.BPF_ABS
		equal  = unix.BPF_JMP | unix.BPF_JEQ | unix.BPF_K
		least  = unix.BPF_JMP | unix.BPF_JGE | unix.BPF_K
		answer = unix.BPF_RET | unix.BPF_K
		refuse = unix.SECCOMP_RET_ERRNO | uint32(unix.EPERM)
	)
	program := []unix.SockFilter{{Code: load, K: callArch}}
	for _, a := range known {
		n := uint8(len(a.refused))
		program = append(program, unix.SockFilter{Code: equal, K: a.arch, Jf: n + 4},
			unix.SockFilter{Code: load, K: callNumber}, unix.SockFilter{Code: least, K: x32, Jt: n + 1})
		for i, call := range a.refused {
			program = append(program, unix.SockFilter{Code: equal, K: call, Jt: n - uint8(i)})
		}
		program = append(program, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_ALLOW}, unix.SockFilter{Code: answer, K: refuse})
	}
	return append(program, unix.SockFilter{Code: answer, K: unix.SECCOMP_RET_KILL_PROCESS})
}
