package kube

import (
	"bytes"
	"os"
	"sync"
	"time"
)

// tokenLife is how long a token is used before its file is read again, in which it is replaced long before it expires
// (kubernetes.io/docs/tasks/configure-pod-container/configure-service-account).
const tokenLife = time.Minute

// tokenFile is a token in a file.
type tokenFile struct {
	path string

	mu    sync.Mutex
	value string
	read  time.Time
}

// token is the newest that could be read.
func (f *tokenFile) token() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	if now := time.Now(); now.Sub(f.read) > tokenLife {
		if data, err := os.ReadFile(f.path); err == nil && len(bytes.TrimSpace(data)) > 0 {
			f.value, f.read = string(bytes.TrimSpace(data)), now
		}
	}
	return f.value
}
