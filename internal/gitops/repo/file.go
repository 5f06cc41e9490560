package repo

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"

	"github.com/ksera524/imgbump/internal/fault"
)

// dialFile is a repository on this machine; git's own programs serve it. A relative path is one from the top of the
// checkout or, without one, from here.
func (r *Repo) dialFile(path string) (*server, error) {
	absolute := path
	if !filepath.IsAbs(path) {
		absolute = filepath.Join(r.root, path)
	}
	absolute, err := filepath.Abs(absolute)
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(absolute); err != nil {
		f := &fault.Error{Kind: fault.Usage, What: "find the repository", Where: absolute, Err: fault.Cause(err), Hint: "check the path"}
		if host, _, _ := strings.Cut(path, "/"); strings.Contains(strings.Trim(host, "."), ".") {
			f.Hint = "if it is on a server: https://" + path
		}
		return nil, f
	}
	path = absolute
	return &server{url: path, client: localCommands(path), endpoint: &transport.Endpoint{Protocol: "file", Path: path}}, nil
}

// localCommands runs git's services on a repository of this machine, without our secrets: its hooks may be another's.
func localCommands(path string) commands {
	return func(ctx context.Context, service string) (*process, error) {
		var said snippet
		cmd := exec.Command("git", strings.TrimPrefix(service, "git-"), path)
		cmd.Env, cmd.Stderr, cmd.WaitDelay = childEnv(isPrivate), &said, time.Second
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		in, err := cmd.StdinPipe()
		if err != nil {
			return nil, err
		}
		out, err := cmd.StdoutPipe()
		if err != nil {
			return nil, err
		}
		if err := cmd.Start(); err != nil {
			return nil, err
		}
		wait := func() error {
			err := cmd.Wait()
			if _, ok := errors.AsType[*exec.ExitError](err); ok {
				return &endError{cmd.ProcessState.ExitCode(), string(said)}
			}
			return err
		}
		return &process{
			in: in, out: out, wait: wait,
			until: func(ctx context.Context) func() bool {
				return context.AfterFunc(ctx, func() { killGroup(cmd) })
			},
			close: func() error {
				in.Close()
				out.Close()
				if cmd.ProcessState == nil {
					cmd.Wait()
				}
				return nil
			},
		}, nil
	}
}

// killGroup ends a process that leads a group, and what it started.
func killGroup(cmd *exec.Cmd) error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
