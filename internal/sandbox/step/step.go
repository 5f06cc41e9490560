// Package step describes one RUN step to whoever carries it out: the process, the root filesystem it runs in, and what is
// mounted there.
package step

import (
	"fmt"
	"io"
	"os"
)

// Process is a command in a root filesystem of its own, which is a stack of layers that a sandbox keeps by their ids.
type Process struct {
	Below []string // ids of the layers of the root filesystem, the lowest first
	Layer string   // id of the layer that what the process changes becomes; nothing becomes of it if the process fails

	Args []string
	Env  []string // KEY=VALUE; the process gets no other
	Dir  string   // working directory, which is created if it is not there
	User User

	Mounts   []Mount
	Network  Network
	Hosts    []string // further lines of /etc/hosts, ADDRESS NAME
	Hostname string
	ShmSize  int64    // of /dev/shm in bytes, zero for 64 MiB
	Limits   []string // NAME=SOFT[:HARD] as ulimit calls them

	Output io.Writer // of both standard output and standard error, as it comes
}

// User is who a process runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary ones
}

// Network is what a process sees of networks.
type Network string

// The networks of RUN --network. Isolated is what BuildKit calls default; a sandbox without networks of its own gives
// the host's.
const (
	Isolated Network = "default"
	Host     Network = "host"
	None     Network = "none"
)

// Mount is one place where something else than the root filesystem shows. Its Kind tells which fields count.
type Mount struct {
	Kind     Kind
	Target   string // absolute; created if it is not there, and gone afterwards if it is empty then
	ReadOnly bool

	Layers []string // of Bind, and what a new Cache starts as: a stack of layers
	Source string   // path in Layers; a directory, or with Bind a file

	Cache   string  // id of a Cache
	Sharing Sharing // of a Cache

	Size int64 // of Tmpfs in bytes, zero for no limit

	Secret []byte // of Secret

	Socket string // of SSH: path of the agent's socket outside

	UID, GID uint32      // of a new Cache, a Secret and an SSH socket
	Mode     os.FileMode // likewise; permission bits
}

// Kind is what a mount shows.
type Kind string

// The kinds of RUN --mount. Of a Bind that is not ReadOnly what is written is lost.
const (
	Bind   Kind = "bind"
	Cache  Kind = "cache"
	Tmpfs  Kind = "tmpfs"
	Secret Kind = "secret"
	SSH    Kind = "ssh"
)

// Sharing is how several processes use one cache at the same time.
type Sharing string

// The values of RUN --mount=type=cache,sharing.
const (
	Shared  Sharing = "shared"  // together
	Private Sharing = "private" // each its own
	Locked  Sharing = "locked"  // one after the other
)

// ExitError is the error of a process that ended by itself with another code than 0, or by a signal.
type ExitError struct {
	Code   int    // 128+N for signal N
	Signal string // its name, "" without
}

func (e *ExitError) Error() string {
	if e.Signal != "" {
		return fmt.Sprintf("the process was ended by %s", e.Signal)
	}
	return fmt.Sprintf("the process ended with exit code %d", e.Code)
}
