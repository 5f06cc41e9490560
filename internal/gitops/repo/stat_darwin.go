package repo

import (
	"os"
	"syscall"
)

// statFields are the ten numbers that an index entry begins with: ctime, mtime (seconds and nanoseconds each), device,
// inode, mode, user, group, size.
func statFields(info os.FileInfo) [10]uint32 {
	s := info.Sys().(*syscall.Stat_t)
	return [10]uint32{
		uint32(s.Ctimespec.Sec), uint32(s.Ctimespec.Nsec), uint32(s.Mtimespec.Sec), uint32(s.Mtimespec.Nsec),
		uint32(s.Dev), uint32(s.Ino), uint32(s.Mode), s.Uid, s.Gid, uint32(s.Size),
	}
}
