package repo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/object"
	"github.com/go-git/go-git/v5/storage/filesystem"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// objects reads commits, trees and blobs from the repository and from what was fetched, and keeps what was made in
// memory, so that the repository stays as it was until a push has succeeded. go-git's storage is not safe for concurrent
// use; this is.
type objects struct {
	mu      sync.Mutex
	disk    []*filesystem.Storage
	fetched spool
	memory  *memory.Storage
	// missing fetches an object that is not here, or fails; nil where there is no server to ask. It is called with mu
	// held.
	missing func(context.Context, plumbing.ObjectType, plumbing.Hash) error
}

// object finds an object of one kind.
func (o *objects) object(ctx context.Context, kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	found, err := o.lookUp(kind, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) && o.missing != nil {
		if err := o.missing(ctx, kind, hash); err != nil {
			return nil, err
		}
		found, err = o.lookUp(kind, hash)
	}
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", kind, hash, err)
	}
	return found, nil
}

func (o *objects) lookUp(kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	if data, err := o.fetched.read(kind, hash, nil); !errors.Is(err, plumbing.ErrObjectNotFound) {
		found := &plumbing.MemoryObject{}
		found.SetType(kind)
		found.Write(data)
		return found, err
	}
	found, err := o.memory.EncodedObject(kind, hash)
	for _, disk := range o.disk {
		if !errors.Is(err, plumbing.ErrObjectNotFound) {
			break
		}
		found, err = disk.EncodedObject(kind, hash)
	}
	return found, err
}

// stored reports whether the repository itself has an object.
func (o *objects) stored(hash plumbing.Hash) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.onDisk(hash)
}

func (o *objects) onDisk(hash plumbing.Hash) bool {
	for _, disk := range o.disk {
		if disk.HasEncodedObject(hash) == nil {
			return true
		}
	}
	return false
}

// has reports whether an object is here, without fetching it.
func (o *objects) has(hash plumbing.Hash) bool {
	_, fetched := o.fetched.at[hash]
	return fetched || o.memory.HasEncodedObject(hash) == nil || o.onDisk(hash)
}

func (o *objects) commit(ctx context.Context, hash plumbing.Hash) (*object.Commit, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, err := o.object(ctx, plumbing.CommitObject, hash)
	if err != nil {
		return nil, err
	}
	return object.DecodeCommit(o.memory, found)
}

func (o *objects) tree(ctx context.Context, hash plumbing.Hash) (*object.Tree, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, err := o.object(ctx, plumbing.TreeObject, hash)
	if err != nil {
		return nil, err
	}
	return object.DecodeTree(o.memory, found)
}

// blob is the content of a file.
func (o *objects) blob(ctx context.Context, hash plumbing.Hash) ([]byte, error) {
	return o.blobInto(ctx, hash, nil)
}

// blobInto is the content of a file, in buf when that has room.
func (o *objects) blobInto(ctx context.Context, hash plumbing.Hash, buf []byte) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if data, err := o.fetched.read(plumbing.BlobObject, hash, buf); !errors.Is(err, plumbing.ErrObjectNotFound) {
		return data, err
	}
	found, err := o.object(ctx, plumbing.BlobObject, hash)
	if err != nil {
		return nil, err
	}
	size := found.Size()
	if size > manifest.MaxSize {
		return nil, manifest.ErrTooLarge
	}
	r, err := found.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	if int64(cap(buf)) < size {
		buf = make([]byte, size)
	}
	_, err = io.ReadFull(r, buf[:size])
	return buf[:size], err
}

// size is that of a blob that is here; of one that is not it is unknown.
func (o *objects) size(hash plumbing.Hash) (size int64, known bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if found, ok := o.fetched.at[hash]; ok {
		return found.size, true
	}
	for _, disk := range o.disk {
		if size, err := disk.EncodedObjectSize(hash); err == nil {
			return size, true
		}
	}
	return 0, false
}

// add keeps a new object in memory.
func (o *objects) add(encode func(plumbing.EncodedObject) error) (plumbing.Hash, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	made := o.memory.NewEncodedObject()
	if err := encode(made); err != nil {
		return plumbing.ZeroHash, err
	}
	return o.memory.SetEncodedObject(made)
}

// store writes objects from memory into the repository.
func (o *objects) store(hashes []plumbing.Hash) error {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, hash := range hashes {
		made, err := o.memory.EncodedObject(plumbing.AnyObject, hash)
		if err != nil {
			return err
		}
		if _, err := o.disk[0].SetEncodedObject(made); err != nil {
			return err
		}
	}
	return nil
}
