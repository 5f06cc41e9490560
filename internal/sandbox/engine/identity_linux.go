package engine

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// dockerCapabilities are what root in a container has by default: CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID,
// SETUID, SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, MKNOD, AUDIT_WRITE, SETFCAP.
const dockerCapabilities uint64 = 0xa80425fb

// makeDir makes a directory and those above it, as far as they are not there, which are the user's then, as with BuildKit.
func makeDir(dir string, user step.User) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := makeDir(filepath.Dir(dir), user); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		return err
	}
	return os.Lchown(dir, int(user.UID), int(user.GID))
}

// execute turns this process into p, in the root directory that it has by now: it comes back only with an error. It must
// be called on a locked thread, since capabilities belong to threads.
func execute(p *step.Process, capabilities uint64) error {
	err := unix.Chdir(p.Dir)
	if err != nil && !errors.Is(err, unix.EACCES) {
		return failed("enter", p.Dir, err)
	}
	inside := err == nil
	for fd := range 3 {
		if err := giveStream(fd, p.User); err != nil {
			return failed("give the output to", strconv.Itoa(int(p.User.UID)), err)
		}
	}
	if err := limit(p.Limits); err != nil {
		return err
	}
	if err := demote(p.User, capabilities); err != nil {
		return err
	}
	if !inside {
		if err := unix.Chdir(p.Dir); err != nil {
			return failed("enter", p.Dir, err)
		}
	}
	unix.Umask(0o022)
	signal.Notify(make(chan os.Signal, 1)) // so that exec resets what was ignored outside
	return run(p)
}

// giveStream lets a user open one of the standard streams again by its name, /dev/stdout, unless it is a device.
func giveStream(fd int, u step.User) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Mode&unix.S_IFMT != unix.S_IFIFO {
		return err
	}
	return unix.Fchown(fd, int(u.UID), -1)
}

// demote gives up all rights that a container's user has not, in the order in which they are needed.
func demote(u step.User, capabilities uint64) error {
	for c := range uint64(64) {
		if capabilities&(1<<c) != 0 {
			continue
		}
		if err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0); errors.Is(err, unix.EINVAL) {
			break // the kernel knows no more
		} else if err != nil {
			return failed("drop a capability", "", err)
		}
	}
	groups := make([]uint32, len(u.Groups), len(u.Groups)+1)
	copy(groups, u.Groups)
	if _, _, e := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(groups)), uintptr(unsafe.Pointer(unsafe.SliceData(groups))), 0); e != 0 {
		return failed("setgroups", fmt.Sprint(u.Groups), e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESGID, uintptr(u.GID), uintptr(u.GID), uintptr(u.GID)); e != 0 {
		return failed("setgid", fmt.Sprint(u.GID), e)
	}
	if _, _, e := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(u.UID), uintptr(u.UID), uintptr(u.UID)); e != 0 {
		return failed("setuid", fmt.Sprint(u.UID), e)
	}
	if u.UID != 0 {
		capabilities = 0 // as the kernel has done already, but for what may be inherited
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	low, high := uint32(capabilities), uint32(capabilities>>32)
	data := [2]unix.CapUserData{{Effective: low, Permitted: low}, {Effective: high, Permitted: high}}
	if err := unix.Capset(&header, &data[0]); err != nil {
		return failed("capset", "", err)
	}
	return failed("prctl", "", unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0)) // the change of user took it away
}

// run replaces this process by p's program, which it looks for as execvp does, in p's own PATH.
func run(p *step.Process) error {
	if len(p.Args) == 0 || p.Args[0] == "" {
		return &obstacle{Text: "there is no command to run"}
	}
	name := p.Args[0]
	if strings.Contains(name, "/") {
		return failed("run", name, syscall.Exec(name, p.Args, p.Env))
	}
	var denied error
	for _, dir := range strings.Split(variable(p.Env, "PATH"), ":") {
		if dir == "" {
			dir = "."
		}
		err := syscall.Exec(dir+"/"+name, p.Args, p.Env)
		switch {
		case errors.Is(err, unix.ENOENT), errors.Is(err, unix.ENOTDIR):
		case errors.Is(err, unix.EACCES):
			denied = err
		default:
			return failed("run", dir+"/"+name, err)
		}
	}
	if denied != nil {
		return failed("run", name, denied)
	}
	return &obstacle{Call: "run", On: name, Text: "not found in PATH"}
}

func variable(env []string, name string) string {
	for i := len(env) - 1; i >= 0; i-- {
		if value, ok := strings.CutPrefix(env[i], name+"="); ok {
			return value
		}
	}
	return ""
}

// limits are what ulimits are called, after Docker's --ulimit.
var limits = map[string]int{
	"as": unix.RLIMIT_AS, "core": unix.RLIMIT_CORE, "cpu": unix.RLIMIT_CPU, "data": unix.RLIMIT_DATA,
	"fsize": unix.RLIMIT_FSIZE, "locks": unix.RLIMIT_LOCKS, "memlock": unix.RLIMIT_MEMLOCK, "msgqueue": unix.RLIMIT_MSGQUEUE,
	"nice": unix.RLIMIT_NICE, "nofile": unix.RLIMIT_NOFILE, "nproc": unix.RLIMIT_NPROC, "rss": unix.RLIMIT_RSS,
	"rtprio": unix.RLIMIT_RTPRIO, "rttime": unix.RLIMIT_RTTIME, "sigpending": unix.RLIMIT_SIGPENDING, "stack": unix.RLIMIT_STACK,
}

// limit sets NAME=SOFT[:HARD], where -1 is no limit.
func limit(asked []string) error {
	for _, l := range asked {
		name, value, _ := strings.Cut(l, "=")
		soft, hard, both := strings.Cut(value, ":")
		if !both {
			hard = soft
		}
		resource, known := limits[name]
		low, err1 := strconv.ParseInt(soft, 10, 64)
		high, err2 := strconv.ParseInt(hard, 10, 64)
		if !known || err1 != nil || err2 != nil {
			return &obstacle{Call: "set the limit", On: l, Text: "it is not NAME=SOFT[:HARD]"}
		}
		if err := syscall.Setrlimit(resource, &syscall.Rlimit{Cur: uint64(low), Max: uint64(high)}); err != nil {
			return failed("set the limit", l, err)
		}
	}
	return nil
}
