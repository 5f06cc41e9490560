package repo

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"strings"
)

// insert adds an entry for a new file, which set fills in. What lies before and behind it stays as it is, but for what the
// extensions know of the order of entries.
func (x *index) insert(path string) error {
	var before, next []byte
	at, until, nextName := x.end, x.end, 0 // the entry goes to at; what of the next one depends on it ends at until
	var clash error
	err := x.walk(func(name []byte, start, nameAt, end int) {
		switch {
		case strings.HasPrefix(path, string(name)+"/") || strings.HasPrefix(string(name), path+"/"):
			clash = fmt.Errorf("git's index has %s", name)
		case string(name) < path:
			before = append(before[:0], name...)
		case next == nil:
			next, at, nextName, until = bytes.Clone(name), start, nameAt, end
		}
	})
	if err := cmp.Or(err, clash); err != nil {
		return err
	}
	entry := make([]byte, entryFixed, entryFixed+len(path)+8)
	binary.BigEndian.PutUint32(entry[entryMode:], fileMode)
	binary.BigEndian.PutUint16(entry[entryFlags:], uint16(min(len(path), flagNameSize)))
	if x.version() == 4 {
		entry = appendName(entry, before, []byte(path))
		if next != nil { // its name is told by how it differs from that of the one before
			entry = appendName(append(entry, x.data[at:nextName]...), []byte(path), next)
		}
	} else {
		entry = append(entry, path...)
		entry = append(entry, make([]byte, 8-len(entry)%8)...)
		until = at
	}
	x.data = bytes.Join([][]byte{x.data[:at], entry, x.data[until:]}, nil)
	x.end += len(entry) - (until - at)
	count := binary.BigEndian.Uint32(x.data[8:])
	binary.BigEndian.PutUint32(x.data[8:], count+1)
	return x.keepExtensions(func(name string) bool { return name != "UNTR" && name != "FSMN" })
}

// fileMode is git's of a file that is not executable.
const fileMode = 0o100644

// appendName is an entry's name in version 4: how many bytes of the name before it are left away, and what comes instead.
func appendName(to, before, name []byte) []byte {
	same := 0
	for same < min(len(before), len(name)) && before[same] == name[same] {
		same++
	}
	strip := len(before) - same
	digits := []byte{byte(strip & 0x7f)}
	for strip >>= 7; strip > 0; strip >>= 7 {
		strip--
		digits = append([]byte{0x80 | byte(strip&0x7f)}, digits...)
	}
	return append(append(append(to, digits...), name[same:]...), 0)
}
