package repo

import (
	"bytes"
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
)

// maxInflated is how many bytes the objects of all packs may have, and maxObjects how many one pack may have: those on
// the wire are bounded by maxAnswer, but compressed they could be anything. Tests lower it.
var maxInflated int64 = 2 << 30

const maxObjects = 4 << 20

// unpacker reads one pack into a spool (gitformat-pack). Each object gets the name that its content has: a server cannot
// pass one off as another.
type unpacker struct {
	*spool
	scanner *packfile.Scanner
	hasher  plumbing.Hasher
	placed  map[int64]plumbing.Hash // the objects by their place in the pack
	// deltas whose base has not come yet, by the base's name or its place
	byName  map[plumbing.Hash][]delta
	byPlace map[int64][]delta
	ready   []ready

	changes bytes.Buffer // scratch, as base
	base    []byte
}

// delta is an object at a place in the pack that is told as changes to another one; they lie in the spool.
type delta struct{ place, offset, size int64 }

// ready is a delta whose base has come.
type ready struct {
	base spooled
	delta
}

// unpack reads a pack from a stream. Base finds an object that the pack builds upon and that is not in the spool.
func (s *spool) unpack(ctx context.Context, pack io.Reader, base func(plumbing.Hash) (plumbing.EncodedObject, error)) error {
	u := &unpacker{
		spool: s, scanner: packfile.NewScanner(&cancelled{ctx, pack}), hasher: plumbing.NewHasher(plumbing.BlobObject, 0),
		placed: map[int64]plumbing.Hash{}, byName: map[plumbing.Hash][]delta{}, byPlace: map[int64][]delta{},
	}
	_, objects, err := u.scanner.Header()
	switch {
	case errors.Is(err, packfile.ErrEmptyPackfile): // even a pack of nothing has a header
		return io.ErrUnexpectedEOF
	case err != nil:
		return err
	case objects > maxObjects:
		return errTooMuch
	}
	if s.at == nil {
		s.at = make(map[plumbing.Hash]spooled, min(objects, 1<<16))
	}
	for range objects {
		if err := u.next(); err != nil {
			return err
		}
	}
	if _, err := u.scanner.Checksum(); err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, pack); err != nil {
		return err
	}
	return u.complete(base)
}

// cancelled is a reader that fails when the context is done.
type cancelled struct {
	ctx context.Context
	io.Reader
}

func (c *cancelled) Read(p []byte) (int, error) {
	if err := c.ctx.Err(); err != nil {
		return 0, err
	}
	return c.Reader.Read(p)
}

// next unpacks one object, and those that waited for it.
func (u *unpacker) next() error {
	header, err := u.scanner.NextObjectHeader()
	if err != nil {
		return err
	}
	if err := u.count(header.Length); err != nil {
		return err
	}
	switch header.Type {
	case plumbing.OFSDeltaObject, plumbing.REFDeltaObject:
		err = u.delta(header)
	case plumbing.CommitObject, plumbing.TreeObject, plumbing.BlobObject, plumbing.TagObject:
		err = u.whole(header)
	default:
		err = fmt.Errorf("%w: object of type %d", packfile.ErrMalformedPackFile, header.Type)
	}
	if err != nil {
		return err
	}
	return cmp.Or(u.flush(), u.applyReady())
}

func (u *unpacker) count(size int64) error {
	if u.inflated += size; u.inflated > maxInflated || size < 0 {
		return errTooMuch
	}
	return nil
}

// whole unpacks an object that is not a delta.
func (u *unpacker) whole(header *packfile.ObjectHeader) error {
	u.hasher = plumbing.NewHasher(header.Type, header.Length)
	found := spooled{header.Type, u.end(), header.Length}
	var to io.Writer = u.spool
	if header.Length > maxObject {
		found.offset, to = -1, u.hasher
	}
	n, _, err := u.scanner.NextObject(to)
	if err == nil && n != header.Length {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return err
	}
	if found.offset >= 0 {
		u.hasher.Write(u.tail[found.offset-u.written:])
	}
	u.name(header.Offset, found)
	return nil
}

// delta unpacks an object that is told as changes to another one, or lets it wait for that.
func (u *unpacker) delta(header *packfile.ObjectHeader) error {
	if header.Length > maxObject {
		return errTooMuch
	}
	u.changes.Reset()
	if n, _, err := u.scanner.NextObject(&u.changes); err != nil || n != header.Length {
		return cmp.Or(err, io.ErrUnexpectedEOF)
	}
	name, known := header.Reference, true
	if header.Type == plumbing.OFSDeltaObject {
		name, known = u.placed[header.OffsetReference]
	}
	if base, ok := u.at[name]; ok && known {
		return u.apply(header.Offset, base, u.changes.Bytes())
	}
	waiting := delta{header.Offset, u.end(), header.Length}
	u.Write(u.changes.Bytes())
	if known {
		u.byName[name] = append(u.byName[name], waiting)
	} else {
		u.byPlace[header.OffsetReference] = append(u.byPlace[header.OffsetReference], waiting)
	}
	return nil
}

// apply unpacks the object that changes make of a base. Of what is too large to be kept nothing can be made: such an
// object is as good as not sent.
func (u *unpacker) apply(place int64, base spooled, changes []byte) error {
	_, n := binary.Uvarint(changes)
	size, m := binary.Uvarint(changes[max(n, 0):])
	switch {
	case n <= 0 || m <= 0:
		return packfile.ErrInvalidDelta
	case base.offset < 0 || size > uint64(maxObject):
		return nil
	}
	if err := u.count(int64(size)); err != nil {
		return err
	}
	var err error
	if u.base, err = u.content(base.offset, base.size, u.base); err != nil {
		return err
	}
	result, err := packfile.PatchDelta(u.base, changes)
	if err != nil {
		return err
	}
	made := spooled{base.kind, u.end(), int64(len(result))}
	u.Write(result)
	u.hasher = plumbing.NewHasher(made.kind, made.size)
	u.hasher.Write(result)
	u.name(place, made)
	return nil
}

// name enters an object whose content went through the hasher. Those that waited for it are ready then.
func (u *unpacker) name(place int64, made spooled) {
	name := u.hasher.Sum()
	u.at[name], u.placed[place] = made, name
	for _, d := range append(u.byName[name], u.byPlace[place]...) {
		u.ready = append(u.ready, ready{made, d})
	}
	delete(u.byName, name)
	delete(u.byPlace, place)
}

// complete unpacks what waits for objects that are not in the pack. Without those it is as good as not sent.
func (u *unpacker) complete(base func(plumbing.Hash) (plumbing.EncodedObject, error)) error {
	for _, name := range slices.Collect(maps.Keys(u.byName)) {
		found, err := base(name)
		if err != nil || found.Size() > maxObject {
			continue
		}
		r, err := found.Reader()
		if err != nil {
			return err
		}
		made := spooled{found.Type(), u.end(), found.Size()}
		u.hasher = plumbing.NewHasher(made.kind, made.size)
		_, err = io.Copy(io.MultiWriter(u.spool, u.hasher), r)
		if err := cmp.Or(err, r.Close()); err != nil {
			return err
		}
		u.name(0, made)
		if err := cmp.Or(u.flush(), u.applyReady()); err != nil {
			return err
		}
	}
	return nil
}

// applyReady unpacks what waited for a base that has come.
func (u *unpacker) applyReady() error {
	for len(u.ready) > 0 {
		next := u.ready[len(u.ready)-1]
		u.ready = u.ready[:len(u.ready)-1]
		changes, err := u.content(next.offset, next.size, nil)
		if err == nil {
			err = u.apply(next.place, next.base, changes)
		}
		if err := cmp.Or(err, u.flush()); err != nil {
			return err
		}
	}
	return nil
}
