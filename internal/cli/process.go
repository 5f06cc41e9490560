package cli

import (
	"os"
	"path/filepath"
	"runtime/debug"
)

// LimitMemory has the Go runtime collect garbage harder beyond so many bytes, unless GOMEMLIMIT says otherwise.
func LimitMemory(bytes int64) {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(bytes)
	}
}

// CacheFile is a file of this user's cache, "" when there is no folder for it. XDG_CACHE_HOME counts only when it is
// absolute (XDG Base Directory specification).
func (c *Console) CacheFile(name ...string) string {
	dir := c.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(dir) {
		var err error
		if dir, err = os.UserCacheDir(); err != nil || !filepath.IsAbs(dir) {
			return ""
		}
	}
	return filepath.Join(append([]string{dir}, name...)...)
}
