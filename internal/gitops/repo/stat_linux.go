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
		uint32(s.Ctim.Sec), uint32(s.Ctim.Nsec), uint32(s.Mtim.Sec), uint32(s.Mtim.Nsec),
		uint32(s.Dev), uint32(s.Ino), s.Mode, s.Uid, s.Gid, uint32(s.Size),
	}
}
