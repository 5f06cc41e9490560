package folder

import (
	"cmp"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

// name has index.json name a manifest, and makes room if that is needed.
func (f *Folder) name(d v1.Descriptor, names []string) error {
	unlock, err := f.lock()
	if err != nil {
		return err
	}
	defer unlock()
	index, err := f.index()
	if err != nil {
		index = &v1.IndexManifest{} // it is damaged, and all that it named is lost
	}
	index.SchemaVersion, index.MediaType = 2, types.OCIImageIndex
	index.Manifests = slices.DeleteFunc(index.Manifests, func(d v1.Descriptor) bool { return slices.Contains(names, d.Annotations[refName]) })
	for _, name := range names {
		named := d
		named.Annotations = map[string]string{refName: name}
		index.Manifests = append(index.Manifests, named)
	}
	if err := f.bound(index); err != nil {
		return err
	}
	raw, err := json.Marshal(index)
	if err != nil {
		return err
	}
	return errors.Join(replace(filepath.Join(f.dir, "oci-layout"), []byte(`{"imageLayoutVersion":"1.0.0"}`)), replace(filepath.Join(f.dir, "index.json"), raw))
}

// lock keeps other processes from changing index.json.
func (f *Folder) lock() (unlock func(), err error) {
	file, err := os.OpenFile(filepath.Join(f.dir, ".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(file.Fd()), syscall.LOCK_EX); err != nil {
		file.Close()
		return nil, err
	}
	return func() { file.Close() }, nil
}

// rest is how long a blob stays that nothing names: a build may be about to.
const rest = time.Hour

// bound drops what was used longest ago, as soon as the blobs are too large.
func (f *Folder) bound(index *v1.IndexManifest) error {
	blobs, total, err := f.blobs()
	if err != nil || total <= f.most {
		return err
	}
	used := func(d v1.Descriptor) time.Time {
		if blob := blobs[d.Digest.Hex]; blob != nil {
			return blob.ModTime()
		}
		return time.Time{}
	}
	newestFirst := slices.Clone(index.Manifests)
	slices.SortStableFunc(newestFirst, func(a, b v1.Descriptor) int { return cmp.Compare(used(b).UnixNano(), used(a).UnixNano()) })
	kept, room := map[string]bool{}, f.most*3/4
	index.Manifests = nil
	for _, d := range newestFirst {
		for _, h := range f.reads(d) {
			if blob := blobs[h]; blob != nil && !kept[h] {
				room -= blob.Size()
				kept[h] = true
			}
		}
		if room < 0 {
			break
		}
		index.Manifests = append(index.Manifests, d)
	}
	named := map[string]bool{}
	for _, d := range index.Manifests {
		for _, h := range f.reads(d) {
			named[h] = true
		}
	}
	for h, blob := range blobs {
		if !named[h] && f.now().Sub(blob.ModTime()) >= rest {
			err = errors.Join(err, os.Remove(filepath.Join(f.dir, "blobs", "sha256", h)))
		}
	}
	return err
}

// blobs are the blobs that are there, and their bytes in all.
func (f *Folder) blobs() (all map[string]fs.FileInfo, total int64, err error) {
	entries, err := os.ReadDir(filepath.Join(f.dir, "blobs", "sha256"))
	all = map[string]fs.FileInfo{}
	for _, e := range entries {
		if info, err := e.Info(); err == nil { // else it is gone
			all[e.Name()] = info
			total += info.Size()
		}
	}
	return all, total, err
}

// reads are the blobs of a manifest, and that itself.
func (f *Folder) reads(d v1.Descriptor) []string {
	all := []string{d.Digest.Hex}
	file, err := os.Open(f.blob(d.Digest))
	if err != nil {
		return all
	}
	defer file.Close()
	m, err := v1.ParseManifest(file)
	if err != nil {
		return all
	}
	all = append(all, m.Config.Digest.Hex)
	for _, l := range m.Layers {
		all = append(all, l.Digest.Hex)
	}
	return all
}
