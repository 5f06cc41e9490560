package image

import (
	"syscall"
	"time"
)

// Changed is when the file's content or attributes changed last, which no program can set.
func Changed(s *syscall.Stat_t) time.Time { return time.Unix(s.Ctim.Unix()) }
