package image

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Ledger remembers, from one run to the next, what layers were compressed to and where their blobs went, so that they need
// not be read again to be found in a registry. What it says is a guess until a registry confirms the digest. It is a file of
// JSON lines that grows as each layer finishes; one that cannot be read or written costs time, and nothing else. A nil
// Ledger knows nothing. Several goroutines and processes may use one file.
type Ledger struct {
	file string

	mu    sync.Mutex
	lines map[string]line // by their keys, nil until the file is read
	fresh bool            // the file held nothing when it was read
}

// line is one thing known: what a source or a diffID is compressed to, which repository has a blob, what an archive holds,
// or when images were made. The last one with a key counts.
type line struct {
	Key        string   `json:"key"`
	Digest     v1.Hash  `json:"digest,omitzero"`
	DiffID     v1.Hash  `json:"diff_id,omitzero"`
	Size       int64    `json:"size,omitempty"`
	Repository string   `json:"repository,omitempty"`
	Archive    *content `json:"archive,omitempty"`
	Builds     []Build  `json:"builds,omitempty"`
}

// Bounds of the file: it is cut down to the newest lines when it has become twice as long, and what is larger than their
// like could be is not read.
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
	l.load()
	known, ok := l.lines[key]
	return known, ok
}

// note adds lines.
func (l *Ledger) note(news ...line) {
	if l == nil || len(news) == 0 {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.load()
	for _, n := range news {
		l.lines[n.Key] = n
	}
	unlock, _ := l.lock()
	defer unlock()
	if l.append(news) != nil {
		l.replace(slices.Collect(maps.Values(l.lines)))
	}
}

// load reads the file once, and cuts it down when it is long or spoiled.
func (l *Ledger) load() {
	if l.lines != nil {
		return
	}
	lines, sound := l.read()
	if !sound || len(lines) > 2*ledgerLines {
		if unlock, held := l.lock(); held { // others may have added to it
			lines, _ = l.read()
			lines = newest(lines)
			l.replace(lines)
			unlock()
		}
	}
	l.lines, l.fresh = map[string]line{}, len(lines) == 0
	for _, known := range lines {
		l.lines[known.Key] = known
	}
}

// newest are the last lines that there is room for, the last of each key.
func newest(lines []line) []line {
	var kept []line
	seen, room := map[string]bool{}, ledgerBytes/2
	for _, one := range slices.Backward(lines) {
		if seen[one.Key] {
			continue
		}
		seen[one.Key] = true
		if room -= len(encoded(one)); room < 0 || len(kept) == ledgerLines {
			break
		}
		kept = append(kept, one)
	}
	slices.Reverse(kept)
	return kept
}

// encoded are lines as the file has them.
func encoded(lines ...line) []byte {
	var text bytes.Buffer
	for _, one := range lines {
		_ = json.NewEncoder(&text).Encode(one) // to memory, of nothing that has no JSON
	}
	return text.Bytes()
}

// lock keeps other processes from replacing the file, until unlock is called. One that holds the lock for long, or a file
// system without locks, is not waited for.
func (l *Ledger) lock() (unlock func(), held bool) {
	if os.MkdirAll(filepath.Dir(l.file), 0o700) != nil {
		return func() {}, false
	}
	f, err := os.OpenFile(l.file+".lock", os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return func() {}, false
	}
	for range lockAttempts {
		if err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); !errors.Is(err, syscall.EWOULDBLOCK) {
			break
		}
		time.Sleep(lockPause)
	}
	return func() { f.Close() }, err == nil
}

// How long another process is waited for: 200 ms.
const (
	lockAttempts = 100
	lockPause    = 2 * time.Millisecond
)

// read is what the file holds, and whether all of it made sense: a process that was killed may have written half a line.
func (l *Ledger) read() (lines []line, sound bool) {
	f, err := os.Open(l.file)
	if err != nil {
		return nil, errors.Is(err, fs.ErrNotExist)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, ledgerBytes+1))
	if err != nil || len(data) > ledgerBytes {
		return nil, false
	}
	sound = true
	for text := range bytes.Lines(data) {
		var one line
		if json.Unmarshal(text, &one) != nil || one.Key == "" || text[len(text)-1] != '\n' {
			sound = false
			continue
		}
		lines = append(lines, one)
	}
	return lines, sound
}

// append writes lines at the end, at once.
func (l *Ledger) append(lines []line) error {
	f, err := os.OpenFile(l.file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(encoded(lines...))
	return errors.Join(err, f.Close())
}

// replace replaces the file as a whole: whoever reads it finds the old one or the new one.
func (l *Ledger) replace(lines []line) {
	f, err := os.CreateTemp(filepath.Dir(l.file), ".layers-*")
	if err != nil {
		return
	}
	_, err = f.Write(encoded(lines...))
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
