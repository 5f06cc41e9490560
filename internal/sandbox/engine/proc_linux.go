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

// proc makes a /proc of copies of the files about the machine, for what is about processes needs a mount.
func (g *stage) proc() error {
	name, err := g.store.folder()
	if err != nil {
		return err
	}
	dir := g.store.path(name)
	for _, file := range machineFiles {
		content, err := os.ReadFile(filepath.Join("/proc", file))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
			continue // as where a pod's runtime hides it
		}
		if err == nil {
			err = g.store.full(os.WriteFile(filepath.Join(dir, file), content, 0o444))
		}
		if err != nil {
			g.store.drop(name)
			return failed("make", "/proc/"+file, err)
		}
	}
	if err := os.Chmod(dir, 0o555); err != nil {
		return failed("make", "/proc", err)
	}
	return g.put(name, "/proc", false)
}
