package sandbox

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/tempdir"
	"github.com/ksera524/imgbump/internal/sandbox/wire"
)

// keeper is the running privileged side. It lives as long as its standard input is open.
type keeper struct {
	command *exec.Cmd
	stdin   io.Closer
	folder  *tempdir.Dir // holds the socket
	client  *http.Client
	errors  start
}

const (
	startTimeout = time.Minute     // for probing; each engine has its own, shorter one
	stopTimeout  = 3 * time.Second // until which the removal of many files is waited for; it goes on after that
)

// errSilent is why a privileged side that says nothing for too long is given up.
var errSilent = errors.New("the process that does it does not answer")

func startKeeper(ctx context.Context, o Options) (*keeper, error) {
	if runtime.GOOS != "linux" {
		return nil, &fault.Error{What: "run RUN steps", Err: fmt.Errorf("they need Linux, this is %s", runtime.GOOS)}
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, errSilent)
	defer cancel()
	k := new(keeper)
	ready, err := k.start(ctx, o)
	if err != nil || ready.Failure != nil {
		k.stop()
		if err != nil {
			return nil, k.refused(ctx, err)
		}
		return nil, ready.Failure.Err()
	}
	if o.Chosen != nil {
		o.Chosen(fmt.Sprintf("isolation: %s (%s)", ready.Isolation, ready.Why))
	}
	k.client = dial(k.socket())
	return k, nil
}

// start runs the privileged side up to its answer.
func (k *keeper) start(ctx context.Context, o Options) (wire.Ready, error) {
	var ready wire.Ready
	exe, err := os.Executable()
	if err != nil {
		return ready, err
	}
	if err := closeUp(); err != nil {
		return ready, err
	}
	if k.folder, err = socketFolder(); err != nil {
		return ready, err
	}
	args := []string{exe, wire.Verb}
	if os.Geteuid() != 0 {
		args = append([]string{"sudo", "-n", "--"}, args...)
	}
	c := exec.Command(args[0], args[1:]...)
	c.Env, c.Dir, c.Stderr = []string{"PATH=" + os.Getenv("PATH")}, "/", &k.errors
	detach(c)
	stdin, err := c.StdinPipe()
	if err != nil {
		return ready, err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return ready, err
	}
	if err := c.Start(); err != nil {
		return ready, err
	}
	k.command, k.stdin = c, stdin
	stop := context.AfterFunc(ctx, func() { stdin.Close(); stdout.Close() })
	defer stop()
	if err := json.NewEncoder(stdin).Encode(wire.Start{
		Socket: k.socket(), Owner: os.Getuid(), Isolation: o.Isolation, Folders: folders(o.Folder),
		Remove: append([]string{k.folder.Path}, o.Remove...),
	}); err != nil {
		return ready, err
	}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &ready)
	}
	return ready, err
}

// refused is why no privileged side came up: what sudo says, most often.
func (k *keeper) refused(ctx context.Context, err error) error {
	cause := context.Cause(ctx)
	if cause != nil && !errors.Is(cause, errSilent) {
		return cause
	}
	err = cmp.Or(cause, err)
	if said := k.said(); said != "" {
		err = errors.New(said)
	}
	if errors.Is(err, exec.ErrNotFound) {
		err = errors.New("this process is not root, and there is no sudo")
	}
	return &fault.Error{What: "run RUN steps", Err: err, Hint: "RUN needs root's rights inside the container: " +
		"let sudo work without a password (allowPrivilegeEscalation: true), run as root (runAsUser: 0), or use a BuildKit (BUILDKIT_HOST)"}
}

// stop ends the privileged side, which takes everything that it started with it.
func (k *keeper) stop() error {
	if k.folder != nil {
		defer k.folder.Remove()
	}
	if k.command == nil {
		return nil
	}
	k.stdin.Close()
	ended := make(chan error, 1)
	go func() { ended <- k.command.Wait() }()
	select {
	case err := <-ended:
		if said := k.said(); err != nil && said != "" {
			return &fault.Error{What: "stop the sandbox", Err: errors.New(said)}
		}
	case <-time.After(stopTimeout):
	}
	return nil
}

// socketPrefix begins the names of folders with a socket.
const socketPrefix = "harborpush-socket-"

// socketFolder is a new one, with a path short enough for a socket's address.
func socketFolder() (*tempdir.Dir, error) {
	parent := os.TempDir()
	if len(parent) > 60 {
		parent = "/tmp"
	}
	tempdir.Clean(parent, socketPrefix)
	return tempdir.New(parent, socketPrefix)
}

func (k *keeper) socket() string { return filepath.Join(k.folder.Path, "s") }

// said is what the privileged side wrote to its standard error.
func (k *keeper) said() string { return fault.Said(k.errors.String(), 500) }

// folders are the places for layers, the best first: a job's own temporary folder is on a volume, where the container's
// own file system is often an overlay, which cannot hold another one's upper layer.
func folders(asked string) []string {
	if asked != "" {
		return []string{asked}
	}
	var all []string
	for _, f := range []string{os.Getenv("RUNNER_TEMP"), os.Getenv("TMPDIR"), "/var/tmp", os.TempDir()} {
		if filepath.IsAbs(f) {
			all = append(all, filepath.Clean(f))
		}
	}
	return all
}

// start keeps the start of what is written to it.
type start struct {
	mu   sync.Mutex
	text []byte
}

func (s *start) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.text = append(s.text, b[:min(len(b), 4096-len(s.text))]...)
	return len(b), nil
}

func (s *start) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return string(s.text)
}
