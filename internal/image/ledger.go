package image

import (
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Ledger remembers, from one run to the next, what layers were compressed to and where their blobs went, so that they need
// not be read again to be found in a registry. What it says is a guess until a registry confirms the digest. It is a file
// that is replaced as each layer finishes; one that cannot be read or written costs time, and nothing else. A nil Ledger
// knows nothing. Several goroutines and processes may use one file.
type Ledger struct {
	file string

	mu     sync.Mutex
	loaded bool
	lines  []line // the newest last
}

// line is one thing known: what a source or a diffID is compressed to, or which repository has a blob.
type line struct {
	Key        string  `json:"key"`
	Digest     v1.Hash `json:"digest,omitzero"`
	DiffID     v1.Hash `json:"diff_id,omitzero"`
	Size       int64   `json:"size,omitempty"`
	Repository string  `json:"repository,omitempty"`
}

// Bounds of the file: the newest lines stay, and what is larger than their like could be is not read.
const (
	ledgerLines = 4096
	ledgerBytes = 8 << 20
)

// OpenLedger is the one in file, which need not be there yet.
func OpenLedger(file string) *Ledger { return &Ledger{file: file} }

// known is the line with that key.
func (l *Ledger) known(key string) (line, bool) {
	if l == nil {
		return line{}, false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.loaded {
		l.lines, l.loaded = l.read(), true
	}
	for _, known := range slices.Backward(l.lines) {
		if known.Key == key {
			return known, true
		}
	}
	return line{}, false
}

// note adds lines, to those that other processes have written meanwhile.
func (l *Ledger) note(news ...line) {
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.lock()()
	replaced := func(old line) bool {
		return slices.ContainsFunc(news, func(n line) bool { return n.Key == old.Key })
	}
	l.lines, l.loaded = append(slices.DeleteFunc(l.read(), replaced), news...), true
	l.lines = l.lines[max(0, len(l.lines)-ledgerLines):]
	l.write()
}

// lock keeps other processes from writing between our reading and our writing, until the returned function is called. One
// that holds the lock for long, or a file system without locks, is not waited for.
func (l *Ledger) lock() (unlock func()) {
	if os.MkdirAll(filepath.Dir(l.file), 0o700) != nil {
		return func() {}
	}
	f, err := os.OpenFile(l.file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return func() {}
	}
	for range lockAttempts {
		if !errors.Is(syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB), syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPause)
	}
	return func() { f.Close() }
}

// How long another process is waited for: 200 ms.
const (
	lockAttempts = 100
	lockPause    = 2 * time.Millisecond
)

func (l *Ledger) read() []line {
	f, err := os.Open(l.file)
	if err != nil {
		return nil
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, ledgerBytes+1))
	var lines []line
	if err != nil || len(data) > ledgerBytes || json.Unmarshal(data, &lines) != nil {
		return nil
	}
	return lines
}

// write replaces the file as a whole: whoever reads it finds the old one or the new one.
func (l *Ledger) write() {
	data, err := json.Marshal(l.lines)
	if err != nil {
		return
	}
	f, err := os.CreateTemp(filepath.Dir(l.file), ".layers-*")
	if err != nil {
		return
	}
	_, err = f.Write(data)
	if cerr := f.Close(); err != nil || cerr != nil || os.Rename(f.Name(), l.file) != nil {
		os.Remove(f.Name())
	}
}

// Origin is a repository of the registry at host that was given the blob, "" when none is known.
func (l *Ledger) Origin(host string, digest v1.Hash) string {
	known, _ := l.known(originKey(host, digest))
	return known.Repository
}

// NoteOrigin remembers that the repository of the registry at host has the blob.
func (l *Ledger) NoteOrigin(host, repository string, digest v1.Hash) {
	l.note(line{Key: originKey(host, digest), Repository: repository})
}

func originKey(host string, digest v1.Hash) string { return "at " + host + " " + digest.String() }
