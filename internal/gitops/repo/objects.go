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
)

// objects reads commits, trees and blobs from the repository, and keeps what was fetched or made in memory, so that
// the repository stays as it was until a push has succeeded. go-git's storage is not safe for concurrent use; this is.
type objects struct {
	mu     sync.Mutex
	disk   []*filesystem.Storage
	memory *memory.Storage
	// refill fetches a whole commit when an object of it turns out to be missing: a partial clone, or a server
	// that took the checkout's history for more complete than it is. Called once, with mu held.
	refill func(context.Context) error
}

// object finds an object of one kind.
func (o *objects) object(ctx context.Context, kind plumbing.ObjectType, hash plumbing.Hash) (plumbing.EncodedObject, error) {
	found, err := o.lookUp(kind, hash)
	if errors.Is(err, plumbing.ErrObjectNotFound) && o.refill != nil {
		refill := o.refill
		o.refill = nil
		if err := refill(ctx); err != nil {
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
	for _, disk := range o.disk {
		if disk.HasEncodedObject(hash) == nil {
			return true
		}
	}
	return false
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

func (o *objects) blob(ctx context.Context, hash plumbing.Hash) ([]byte, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, err := o.object(ctx, plumbing.BlobObject, hash)
	if err != nil {
		return nil, err
	}
	r, err := found.Reader()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	data := make([]byte, found.Size())
	_, err = io.ReadFull(r, data)
	return data, err
}

func (o *objects) size(ctx context.Context, hash plumbing.Hash) (int64, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	found, err := o.object(ctx, plumbing.BlobObject, hash)
	if err != nil {
		return 0, err
	}
	return found.Size(), nil
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
