//go:build linux

package sandbox_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/without"
)

// pod is how a container runs that a build runs in, as Kubernetes starts it when nothing else is said: containerd's
// capabilities, its masked paths, no seccomp profile.
type pod struct {
	user            int
	sudo            bool   // the user may use it
	seccomp         bool   // the profile RuntimeDefault
	noNewPrivileges bool   // allowPrivilegeEscalation: false
	noCapabilities  bool   // drop: [ALL]
	noMounts        bool   // AppArmor forbids mounts: a seccomp profile has to stand for it here
	noVolume        bool   // there is only the container's own file system, which is an overlay
	isolation       string // asked for
}

// Which engine is chosen in which pod, that it works there, and what is said where none does.
func TestPods(t *testing.T) {
	const works = "it works as 0"
	for name, tt := range map[string]struct {
		pod  pod
		want []string
	}{
		"root":                {pod{}, []string{"isolation: userns (user namespace and overlayfs in /volume", works}},
		"runner with sudo":    {pod{user: 1001, sudo: true}, []string{"isolation: userns", works}},
		"no volume":           {pod{noVolume: true}, []string{"isolation: chroot", "overlayfs cannot lie on overlayfs", works}},
		"seccomp":             {pod{seccomp: true}, []string{"isolation: chroot", "userns: clone: operation not permitted (by a seccomp profile)", works}},
		"seccomp and sudo":    {pod{user: 1001, sudo: true, seccomp: true}, []string{"isolation: chroot", "userns: clone: operation not permitted", works}},
		"no new privileges":   {pod{noNewPrivileges: true}, []string{"isolation: userns", works}},
		"asked for chroot":    {pod{isolation: sandbox.Chroot}, []string{"isolation: chroot", works}},
		"asked for userns":    {pod{isolation: sandbox.UserNamespace, seccomp: true}, []string{"error: run RUN steps: userns: clone: operation not permitted", "seccompProfile: {type: Unconfined}"}},
		"runner without sudo": {pod{user: 1001}, []string{"error: run RUN steps: sudo: a password is required", "allowPrivilegeEscalation: true"}},
		"sudo forbidden":      {pod{user: 1001, sudo: true, noNewPrivileges: true}, []string{"error: run RUN steps: sudo", "no new privileges", "allowPrivilegeEscalation: true"}},
		"no mounts":           {pod{noMounts: true}, []string{"isolation: chroot", "userns: mount / as private: operation not permitted (by AppArmor, SELinux or a seccomp profile)", works}},
		"no capabilities":     {pod{noCapabilities: true}, []string{"error: run RUN steps: userns: clone: operation not permitted (the capability SETUID is missing)", "chroot: chown", "capabilities that containers have by default"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := tt.pod.run(t)
			t.Log(got)
			for _, want := range tt.want {
				if !strings.Contains(got, want) {
					t.Errorf("want %q in\n%s", want, got)
				}
			}
			if strings.Contains(got, "hunter2") || strings.Contains(got, "a step changed") {
				t.Errorf("the step sees the pod's secrets, or changes the pod:\n%s", got)
			}
		})
	}
}

// build is what happens in a pod.
func build() {
	ctx := context.Background()
	s := sandbox.New(sandbox.Options{Isolation: os.Getenv("ISOLATION"), Chosen: func(line string) { fmt.Println(line) }})
	defer s.Close()
	base, err := os.Open(os.Getenv("BASE"))
	if err == nil {
		err = s.Unpack(ctx, "base", base)
	}
	if err == nil {
		p := shell(`echo it works as $(id -u); chown 12345:54321 /etc || exit 3`)
		p.Output = os.Stdout
		err = s.Run(ctx, p)
	}
	for _, uid := range []uint32{0, 1001} {
		if err != nil {
			break
		}
		p := shell(`for p in '' /proc/[0-9]*/root; do cat $p/var/run/secrets/kubernetes.io/serviceaccount/token; done
			for p in /proc/[0-9]*; do cat $p/environ; echo 321 > $p/oom_score_adj; done; true`)
		p.Layer, p.User.UID, p.Output = fmt.Sprint(uid), uid, os.Stdout
		err = s.Run(ctx, p)
	}
	if score, _ := os.ReadFile("/proc/self/oom_score_adj"); string(score) == "321\n" {
		fmt.Println("a step changed its build's process")
	}
	if err != nil {
		fmt.Println("error:", err)
		fmt.Println("hint:", fault.HintOf(err))
	}
}

// run starts a build in the pod and returns its output.
func (p pod) run(t *testing.T) string {
	t.Helper()
	base, err := busybox()
	for _, program := range []string{"runc", "sudo"} {
		if err == nil {
			_, err = exec.LookPath(program)
		}
	}
	if os.Geteuid() != 0 || err != nil {
		without.Skip(t, "root, busybox, runc and sudo")
	}
	bundle, volume := t.TempDir(), t.TempDir()
	root := containerRoot(t, bundle)
	write := func(path, content string, mode os.FileMode) {
		t.Helper()
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), mode); err != nil {
			t.Fatal(err)
		}
	}
	write(filepath.Join(root, "etc/passwd"), "root:x:0:0::/:/bin/sh\nrunner:x:1001:1001::/:/bin/sh\n", 0o644)
	write(filepath.Join(root, "etc/shadow"), "root:*:1::::::\nrunner:*:1::::::\n", 0o640)
	write(filepath.Join(root, "var/run/secrets/kubernetes.io/serviceaccount/token"), "hunter2", 0o644)
	write(filepath.Join(root, "etc/hosts"), "127.0.0.1 localhost runner\n", 0o644)
	if p.sudo {
		write(filepath.Join(root, "etc/sudoers.d/runner"), "#1001 ALL=(ALL) NOPASSWD: ALL\n", 0o440)
	}
	write(filepath.Join(root, "base.tar"), string(base), 0o644)
	if err := os.Chmod(volume, 0o777); err != nil {
		t.Fatal(err)
	}
	config, err := json.Marshal(p.config(t, root, volume))
	if err != nil {
		t.Fatal(err)
	}
	write(filepath.Join(bundle, "config.json"), string(config), 0o644)
	id := fmt.Sprintf("pod-%d-%s", os.Getpid(), filepath.Base(filepath.Dir(bundle)))
	c := exec.CommandContext(t.Context(), "runc", "--root", filepath.Join(bundle, "runc"), "run", "--bundle", bundle, id)
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Run(); err != nil {
		t.Fatalf("runc: %v\n%s", err, out.String())
	}
	if left, _ := os.ReadDir(volume); len(left) > 0 {
		t.Errorf("%v are left in the volume", left)
	}
	left, _ := filepath.Glob(filepath.Join(bundle, "memory/upper/tmp/harborpush-*"))
	for _, dir := range left {
		if stat, err := os.Lstat(dir); err == nil && stat.IsDir() { // others are marks: this machine's own, removed in the pod
			t.Errorf("%s is left", dir)
		}
	}
	return out.String()
}

// containerRoot is this machine's root file system with an overlay in memory above, as a container's is an overlay.
func containerRoot(t *testing.T, bundle string) string {
	t.Helper()
	memory, root := filepath.Join(bundle, "memory"), filepath.Join(bundle, "rootfs")
	mount := func(what, where, options string) {
		t.Helper()
		if err := os.MkdirAll(where, 0o755); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(what, where, what, 0, options); err != nil {
			t.Fatalf("mounting %s: %v", what, err)
		}
		t.Cleanup(func() { unix.Unmount(where, unix.MNT_DETACH) })
	}
	mount("tmpfs", memory, "")
	for _, dir := range []string{"upper", "work"} {
		if err := os.Mkdir(filepath.Join(memory, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	mount("overlay", root, fmt.Sprintf("lowerdir=/,upperdir=%s/upper,workdir=%s/work", memory, memory))
	return root
}

type object = map[string]any

// config is the pod as runc wants it.
func (p pod) config(t *testing.T, root, volume string) object {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	env := []string{"PATH=/usr/sbin:/usr/bin:/sbin:/bin", "TOKEN=hunter2", "BASE=/base.tar", "ISOLATION=" + p.isolation}
	mount := func(kind, to string, options ...string) object {
		return object{"destination": to, "type": kind, "source": kind, "options": options}
	}
	mounts := []object{
		mount("proc", "/proc"), mount("tmpfs", "/dev", "nosuid", "mode=755"), mount("devpts", "/dev/pts", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
		mount("mqueue", "/dev/mqueue", "nosuid", "noexec", "nodev"), mount("sysfs", "/sys", "nosuid", "noexec", "nodev", "ro"),
	}
	if !p.noVolume {
		env = append(env, "RUNNER_TEMP=/volume")
		mounts = append(mounts, object{"destination": "/volume", "type": "bind", "source": volume, "options": []string{"rbind", "rw"}})
	}
	var namespaces []object
	for _, kind := range []string{"pid", "ipc", "uts", "mount"} {
		namespaces = append(namespaces, object{"type": kind})
	}
	linux := object{
		"namespaces": namespaces, "resources": object{"devices": []object{{"allow": false, "access": "rwm"}}},
		"maskedPaths": []string{"/proc/acpi", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
			"/proc/sched_debug", "/proc/scsi", "/sys/firmware"},
		"readonlyPaths": []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"},
	}
	if p.seccomp {
		linux["seccomp"] = runtimeDefault()
	}
	if p.noMounts {
		linux["seccomp"] = object{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": []object{{"names": []string{"mount"}, "action": "SCMP_ACT_ERRNO"}}}
	}
	capabilities := []string{}
	if !p.noCapabilities {
		for _, name := range strings.Fields("CHOWN DAC_OVERRIDE FSETID FOWNER MKNOD NET_RAW SETGID SETUID SETFCAP SETPCAP NET_BIND_SERVICE SYS_CHROOT KILL AUDIT_WRITE") {
			capabilities = append(capabilities, "CAP_"+name)
		}
	}
	return object{
		"ociVersion": "1.0.2", "hostname": "runner", "root": object{"path": root}, "mounts": mounts, "linux": linux,
		"process": object{
			"args": []string{exe, "build"}, "env": env, "cwd": "/", "user": object{"uid": p.user, "gid": p.user}, "noNewPrivileges": p.noNewPrivileges,
			"capabilities": object{"bounding": capabilities, "permitted": capabilities, "effective": capabilities},
		},
	}
}

// runtimeDefault forbids what containerd's and Docker's default profile forbids who has not SYS_ADMIN, as far as it is about
// namespaces and mounts.
func runtimeDefault() object {
	refuse := []object{
		{"names": []string{"clone3"}, "action": "SCMP_ACT_ERRNO", "errnoRet": uint(unix.ENOSYS)},
		{"action": "SCMP_ACT_ERRNO", "names": []string{"unshare", "setns", "mount", "umount2", "pivot_root", "mount_setattr", "open_tree", "move_mount", "fsopen",
			"fsmount", "fsconfig", "fspick", "bpf", "perf_event_open", "open_by_handle_at", "keyctl", "add_key", "request_key", "userfaultfd"}},
	}
	for _, flag := range []uint64{unix.CLONE_NEWNS, unix.CLONE_NEWCGROUP, unix.CLONE_NEWUTS, unix.CLONE_NEWIPC, unix.CLONE_NEWUSER, unix.CLONE_NEWPID, unix.CLONE_NEWNET} {
		refuse = append(refuse, object{"names": []string{"clone"}, "action": "SCMP_ACT_ERRNO",
			"args": []object{{"index": 0, "value": flag, "valueTwo": flag, "op": "SCMP_CMP_MASKED_EQ"}}})
	}
	return object{"defaultAction": "SCMP_ACT_ALLOW", "syscalls": refuse}
}
