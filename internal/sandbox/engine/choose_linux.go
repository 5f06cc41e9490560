package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/sandbox/wire"
)

const verb = wire.Verb

// engine carries out steps on the layers of a store.
type engine interface {
	try(context.Context) error
	run(context.Context, step.Process, io.Writer) error
}

// engines are tried in this order.
var engines = []struct {
	name, means string
	make        func(*store) engine
}{
	{"userns", "user namespace and overlayfs", func(s *store) engine { return &userns{store: s} }},
	{"chroot", "a copy of the root filesystem, without /proc/self,", func(s *store) engine { return newChroot(s) }},
}

// tryTimeout is for a kernel that neither does what is asked nor refuses it.
const tryTimeout = 10 * time.Second

// choose finds the first engine that works here, and the first folder that it works in.
func choose(start wire.Start) (engine, *store, wire.Ready) {
	var refusals []string
	var first error
	for _, e := range engines {
		if start.Isolation != "" && start.Isolation != e.name {
			continue
		}
		made, s, err := tryFolders(e.make, start.Folders)
		if err == nil {
			why := append([]string{e.means + " in " + filepath.Dir(s.dir)}, refusals...)
			return made, s, wire.Ready{Isolation: e.name, Why: strings.Join(why, "; ")}
		}
		refusals = append(refusals, fmt.Sprintf("%s: %v", e.name, explain(err)))
		if first == nil {
			first = err
		}
	}
	return nil, nil, wire.Ready{Failure: wire.NewFailure(&fault.Error{
		What: "run RUN steps", Err: errors.New(strings.Join(refusals, "; ")), Hint: unlock(first),
	})}
}

func tryFolders(make func(*store) engine, folders []string) (engine, *store, error) {
	err := errors.New("there is no folder to keep layers in")
	for i, folder := range folders {
		if slices.Contains(folders[:i], folder) {
			continue
		}
		var s *store
		if s, err = newStore(folder); err != nil {
			continue
		}
		e := make(s)
		if err = tryOnce(e); err == nil {
			return e, s, nil
		}
		s.remove()
		var o *obstacle
		if errors.As(err, &o) && o.Call == overlayCall {
			o.On = "in " + folder
			continue
		}
		break // which is not for the folder
	}
	return nil, nil, err
}

func tryOnce(e engine) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), tryTimeout, errors.New("no answer in 10 seconds"))
	defer cancel()
	return e.try(ctx)
}

// explain adds to a refusal what it most likely comes from.
func explain(err error) string {
	var o *obstacle
	if !errors.As(err, &o) {
		return err.Error()
	}
	switch {
	case o.Call == cloneCall && o.Errno == unix.EPERM:
		return o.Error() + " (" + whoForbids() + ")"
	case o.Call == cloneCall && o.Errno == unix.ENOSPC:
		return o.Error() + " (user namespaces are switched off: user.max_user_namespaces)"
	case o.Call == overlayCall && o.Errno == unix.EINVAL:
		return o.Error() + " (overlayfs cannot lie on overlayfs: name a folder on a volume with TMPDIR)"
	case strings.HasPrefix(o.Call, "mount") && (o.Errno == unix.EACCES || o.Errno == unix.EPERM):
		return o.Error() + " (" + whoForbidsMounts() + ")"
	}
	return o.Error()
}

// whoForbids tells what keeps this process from user namespaces with all ids.
func whoForbids() string {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if unix.Capget(&header, &data[0]) == nil {
		for i, name := range []string{"SETUID", "SETGID", "SETFCAP"} {
			if c := []int{unix.CAP_SETUID, unix.CAP_SETGID, unix.CAP_SETFCAP}[i]; data[0].Effective&(1<<c) == 0 {
				return "the capability " + name + " is missing"
			}
		}
	}
	status, _ := os.ReadFile("/proc/self/status")
	if strings.Contains(string(status), "\nSeccomp:\t2\n") {
		return "by a seccomp profile"
	}
	return "by a setting of the machine"
}

// whoForbidsMounts tells what keeps a user namespace, which has been made, from mounts.
func whoForbidsMounts() string {
	const setting = "kernel.apparmor_restrict_unprivileged_userns"
	value, _ := os.ReadFile("/proc/sys/" + strings.ReplaceAll(setting, ".", "/"))
	if strings.TrimSpace(string(value)) == "1" {
		return "by AppArmor on this node: " + setting + "=1"
	}
	return "by AppArmor, SELinux or a seccomp profile"
}

// unlock tells what an administrator allows the best engine with.
func unlock(err error) string {
	var o *obstacle
	if errors.As(err, &o) && (o.Call == overlayCall || o.Call == folderCall) {
		return "name a folder on a volume, for example an emptyDir, with TMPDIR"
	}
	return "allow user namespaces and mounts in the runner's container: securityContext: {allowPrivilegeEscalation: true, " +
		"seccompProfile: {type: Unconfined}, appArmorProfile: {type: Unconfined}}, with the capabilities that containers have " +
		"by default; or use a BuildKit (BUILDKIT_HOST)"
}
