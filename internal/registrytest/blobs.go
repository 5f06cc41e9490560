package registrytest

import (
	"bytes"
	"context"
	"io"
	"strings"
	"sync"

	storage "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// blobs keeps the blobs of each repository apart, as a real registry shows them: what one repository has, another has
// only after an upload or a mount.
type blobs struct {
	mu           sync.Mutex
	repositories map[string]map[v1.Hash][]byte
}

// of drops what the storage leaves of an upload's path.
func of(repository string) string { return strings.TrimSuffix(repository, "/blobs") }

func (b *blobs) Get(_ context.Context, repository string, h v1.Hash) (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.repositories[of(repository)][h]
	if !ok {
		return nil, storage.ErrNotFound
	}
	return io.NopCloser(bytes.NewReader(data)), nil
}

func (b *blobs) Stat(_ context.Context, repository string, h v1.Hash) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.repositories[of(repository)][h]
	if !ok {
		return 0, storage.ErrNotFound
	}
	return int64(len(data)), nil
}

func (b *blobs) Put(_ context.Context, repository string, h v1.Hash, r io.ReadCloser) error {
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(of(repository), h, data)
	return nil
}

// store keeps a blob that was uploaded.
func (b *blobs) store(repository string, h v1.Hash, data []byte) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.put(repository, h, data)
}

func (b *blobs) put(repository string, h v1.Hash, data []byte) {
	if b.repositories[repository] == nil {
		b.repositories[repository] = map[v1.Hash][]byte{}
	}
	b.repositories[repository][h] = data
}

func (b *blobs) has(repository string, h v1.Hash) bool {
	_, err := b.Stat(context.Background(), repository, h)
	return err == nil
}

// link makes a blob of one repository known in another.
func (b *blobs) link(from, to string, h v1.Hash) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	data, ok := b.repositories[from][h]
	if ok {
		b.put(to, h, data)
	}
	return ok
}

// used is how many bytes the blobs of a project take, each counted once.
func (b *blobs) used(project string) int64 {
	b.mu.Lock()
	defer b.mu.Unlock()
	sizes := map[v1.Hash]int64{}
	for repository, blobs := range b.repositories {
		if !strings.HasPrefix(repository, project+"/") {
			continue
		}
		for h, data := range blobs {
			sizes[h] = int64(len(data))
		}
	}
	var total int64
	for _, size := range sizes {
		total += size
	}
	return total
}
