package engine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// machineFiles are those of /proc that are about the machine, not about a process. Without them Node counts no processors,
// and npm waits for a script of a package that it never starts: "Exit handler never called!".
var machineFiles = []string{"cpuinfo", "filesystems", "loadavg", "meminfo", "stat", "uptime", "version"}

// machine copies those into a directory that stands for /proc: what is about processes needs a mount.
func machine(dir string) error {
	for _, file := range machineFiles {
		content, err := os.ReadFile(filepath.Join("/proc", file))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // as where a pod's runtime hides it
		}
		if err == nil {
			err = os.WriteFile(filepath.Join(dir, file), content, 0o444)
		}
		if err != nil {
			return failed("make", "/proc/"+file, err)
		}
	}
	return failed("make", "/proc", os.Chmod(dir, 0o555))
}
