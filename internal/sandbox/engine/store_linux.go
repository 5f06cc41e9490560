package engine

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/sandbox/tempdir"
)

// emptyLayer is a layer in each store that has nothing: overlayfs wants at least two.
const emptyLayer = "0"

// layer is a folder in the store.
type layer struct {
	name  string
	below []string // of one that a step made: the names of the layers that it lies on, the lowest first
}

// store is the folder of one sandbox: layers in overlayfs' form and caches, under names short enough that those of many
// layers fit in the options of one mount.
type store struct {
	dir  string
	made *tempdir.Dir // which dir is

	mu     sync.Mutex
	last   int // of the names, whose first is any: ext4 chooses by it where a folder lies
	layers map[string]layer
	caches map[string]*cache
}

// prefix begins the names of stores.
const prefix = "harborpush-layers-"

func newStore(folder string) (*store, error) {
	dir, err := tempdir.New(folder, prefix)
	if err != nil {
		return nil, failed(folderCall, folder, err)
	}
	scatter(dir.Path)
	s := &store{made: dir, dir: dir.Path, last: rand.IntN(1 << 20), layers: map[string]layer{}, caches: map[string]*cache{}}
	if err := os.Mkdir(s.path(emptyLayer), 0o755); err != nil {
		s.remove()
		return nil, failed(folderCall, folder, err)
	}
	return s, nil
}

// scatter asks ext4 to keep the folders in dir apart from each other and from what lies around dir, as chattr +T does. It
// leaves the places of deleted files alone for minutes, and looks at each of them for every new file nearby, which where a
// build has just removed its layers takes longer than all else. Other file systems need nothing of the kind.
func scatter(dir string) {
	fd, err := unix.Open(dir, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer unix.Close(fd)
	if flags, err := unix.IoctlGetInt(fd, unix.FS_IOC_GETFLAGS); err == nil {
		_ = unix.IoctlSetPointerInt(fd, unix.FS_IOC_SETFLAGS, flags|topDirectory)
	}
}

const topDirectory = 0x20000 // FS_TOPDIR_FL

// folderCall is what fails when a folder can hold nothing at all.
const folderCall = "make a folder in"

func (s *store) path(name string) string { return filepath.Join(s.dir, name) }

func (s *store) remove() error { return s.made.Remove() }

// name is a new name in the store.
func (s *store) name() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.last++
	return strconv.FormatInt(int64(s.last), 36)
}

// folder makes a new empty folder, and gives its name.
func (s *store) folder() (string, error) {
	name := s.name()
	return name, s.full(os.Mkdir(s.path(name), 0o755))
}

// drop removes what has one of the names, which may be "".
func (s *store) drop(names ...string) {
	for _, name := range names {
		if name != "" {
			os.RemoveAll(s.path(name))
		}
	}
}

// layer is where a layer is.
func (s *store) layer(id string) (layer, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l, ok := s.layers[id]
	if !ok {
		return layer{}, fmt.Errorf("the sandbox has no layer %s", id)
	}
	return l, nil
}

// stack are the names of layers, in the same order.
func (s *store) stack(ids []string) ([]string, error) {
	names := make([]string, len(ids))
	for i, id := range ids {
		l, err := s.layer(id)
		if err != nil {
			return nil, err
		}
		names[i] = l.name
	}
	return names, nil
}

// paths are where things with names are, in the same order.
func (s *store) paths(names []string) []string {
	all := make([]string, len(names))
	for i, name := range names {
		all[i] = s.path(name)
	}
	return all
}

// keep makes a folder a layer, unless there is one of that id already: a layer never changes.
func (s *store) keep(id string, l layer) {
	s.mu.Lock()
	_, there := s.layers[id]
	if !there {
		s.layers[id] = l
	}
	s.mu.Unlock()
	if there {
		s.drop(l.name)
	}
}

// full adds to an error for want of space where the space is wanted.
func (s *store) full(err error) error {
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) {
		return &fault.Error{What: "keep layers in", Where: s.dir, Err: errors.New("no space is left"),
			Hint: "free space there, or name a folder on a larger volume with TMPDIR"}
	}
	return err
}

// exhausted tells of a full disk as the likely reason that a step failed.
func (s *store) exhausted(err error) error {
	var exit *step.ExitError
	var st unix.Statfs_t
	if !errors.As(err, &exit) || unix.Statfs(s.dir, &st) != nil || st.Bavail*uint64(st.Bsize) >= 1<<20 && st.Ffree > 16 {
		return err
	}
	return &fault.Error{Where: s.dir, Err: err, Hint: "the disk that holds the layers is full: free space there, or name a folder on a larger volume with TMPDIR"}
}
