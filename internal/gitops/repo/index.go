package repo

import (
	"bytes"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"os"

	"github.com/go-git/go-git/v5/plumbing"
)

// index is git's list of the checked-out files (gitformat-index), versions 2 to 4. Entries are patched in place, in
// whatever version and with whatever extensions it has; go-git would rewrite it as version 2 and fails on some.
type index struct {
	data []byte         // without the checksum
	at   map[string]int // where the wanted entries start
	end  int            // of the entries; extensions follow
	// some folders that are not checked out are one entry each (a sparse index)
	folders bool
}

// Offsets in an entry, and the flags.
const (
	indexHeader   = 12
	entryMode     = 24
	entryHash     = 40
	entryFlags    = 60
	entryFixed    = 62
	flagExtended  = 0x4000
	flagStage     = 0x3000
	flagNameSize  = 0x0fff
	flag2Sparse   = 0x4000 // in the extended flags: not checked out
	extensionHead = 8
)

var (
	errIndex = errors.New("git's index is damaged")
	errSplit = errors.New("git's index is split")
)

// readIndex reads an index and finds the entries of the wanted paths.
func readIndex(file string, wanted []edit) (*index, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if len(data) < indexHeader+sha1.Size || string(data[:4]) != "DIRC" {
		return nil, errIndex
	}
	x := &index{data: data[:len(data)-sha1.Size], at: map[string]int{}}
	switch [sha1.Size]byte(data[len(x.data):]) {
	case sha1.Sum(x.data), [sha1.Size]byte{}: // zero with index.skipHash
	default:
		return nil, errIndex
	}
	for _, e := range wanted {
		x.at[e.path] = 0
	}
	if err := x.scan(); err != nil {
		return nil, err
	}
	// Left out are the trees of the last commit, and the offsets for reading in parallel, which an edit makes wrong.
	return x, x.keepExtensions(func(name string) bool { return name != "TREE" && name != "EOIE" && name != "IEOT" })
}

func (x *index) version() uint32 { return binary.BigEndian.Uint32(x.data[4:]) }

// scan finds the wanted entries, and the end of all.
func (x *index) scan() error {
	x.end = indexHeader
	return x.walk(func(name []byte, at, _, end int) {
		if _, wanted := x.at[string(name)]; wanted {
			x.at[string(name)] = at
		}
		x.end = end
	})
}

// walk goes over the entries, in their order: where each starts, where its name does, and where it ends.
func (x *index) walk(visit func(name []byte, start, nameAt, end int)) error {
	version, count := x.version(), binary.BigEndian.Uint32(x.data[8:])
	if version < 2 || version > 4 {
		return fmt.Errorf("git's index has version %d", version)
	}
	var name []byte
	at := indexHeader
	for range count {
		first, start := at, at+entryFixed
		if start+2 > len(x.data) {
			return errIndex
		}
		if x.flags(at)&flagExtended != 0 {
			start += 2
		}
		strip, nameAt := 0, start
		if version == 4 {
			var size int
			if strip, size = varint(x.data[start:]); size == 0 || strip > len(name) {
				return errIndex
			}
			start += size
		} else {
			name = name[:0]
		}
		size := bytes.IndexByte(x.data[start:], 0)
		if size < 0 {
			return errIndex
		}
		name = append(name[:len(name)-strip], x.data[start:start+size]...)
		if version == 4 {
			at = start + size + 1
		} else {
			at += (start - at + size + 8) &^ 7 // padded with one to eight zeros
		}
		if at > len(x.data) {
			return errIndex
		}
		visit(name, first, nameAt, at)
	}
	return nil
}

// varint is the offset encoding of packs and version 4 indexes: its value and size, size 0 when it is cut off.
func varint(data []byte) (value, size int) {
	for size < min(len(data), 5) {
		c := data[size]
		value = value<<7 | int(c&0x7f)
		size++
		if c&0x80 == 0 {
			return value, size
		}
		value++
	}
	return 0, 0
}

// keepExtensions removes the others, which git makes anew. An extension that one must understand, and we do not, is an
// error.
func (x *index) keepExtensions(wanted func(name string) bool) error {
	if x.end > len(x.data) {
		return errIndex
	}
	kept := x.data[:x.end:x.end]
	for rest := x.data[x.end:]; len(rest) > 0; {
		if len(rest) < extensionHead {
			return errIndex
		}
		size := extensionHead + int(binary.BigEndian.Uint32(rest[4:]))
		if size > len(rest) {
			return errIndex
		}
		switch name := string(rest[:4]); {
		case !wanted(name):
		case name == "link":
			return errSplit
		case name == "sdir":
			x.folders = true
			kept = append(kept, rest[:size]...)
		case name[0] >= 'A' && name[0] <= 'Z':
			kept = append(kept, rest[:size]...)
		default:
			return fmt.Errorf("git's index has the unknown extension %q", name)
		}
		rest = rest[size:]
	}
	x.data = kept
	return nil
}

func (x *index) flags(at int) uint16 { return binary.BigEndian.Uint16(x.data[at+entryFlags:]) }

func (x *index) hash(at int) plumbing.Hash {
	return plumbing.Hash(x.data[at+entryHash : at+entryHash+sha1.Size])
}

// sparse reports whether an entry is not checked out (git sparse-checkout).
func (x *index) sparse(at int) bool {
	return x.flags(at)&flagExtended != 0 && binary.BigEndian.Uint16(x.data[at+entryFixed:])&flag2Sparse != 0
}

// set gives an entry a new blob, and the stat data of the file that holds it; nil when it is not checked out.
func (x *index) set(at int, blob plumbing.Hash, info os.FileInfo) {
	copy(x.data[at+entryHash:], blob[:])
	if info == nil {
		return
	}
	mode := [4]byte(x.data[at+entryMode:])
	for i, field := range statFields(info) {
		binary.BigEndian.PutUint32(x.data[at+4*i:], field)
	}
	copy(x.data[at+entryMode:], mode[:]) // what git tracks of the mode did not change
}

// bytes is the index as it is stored.
func (x *index) bytes() []byte {
	sum := sha1.Sum(x.data)
	return append(x.data[:len(x.data):len(x.data)], sum[:]...)
}
