package ship

import (
	"syscall"
	"time"
)

// changed is when the file's content or attributes changed last, which no program can set.
func changed(s *syscall.Stat_t) time.Time { return time.Unix(s.Ctim.Unix()) }
