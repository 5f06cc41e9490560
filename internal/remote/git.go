package remote

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path"
	"strconv"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/leash"
)

// Repository is a git repository, and what is wanted of it.
type Repository struct {
	Address    string
	Ref        string // branch, tag or commit; empty is the default branch
	Commit     string // what Ref must be, or the beginning of it; empty is anything
	Subdir     string // of the repository, empty is all of it
	KeepGitDir bool
	Submodules bool
}

// Clone checks a repository out, and gives its files as a tar in a file without a name. It needs the git program, which
// is shown neither the user's configuration nor any of the environment's secrets.
func (c *Client) Clone(ctx context.Context, r Repository) (*os.File, error) { return c.clone(ctx, r) }

func (c *Client) cloned(ctx context.Context, r Repository) (*os.File, error) {
	failed := func(hint string, err error) (*os.File, error) {
		return nil, &fault.Error{What: "clone", Where: fault.Address(r.Address), Hint: hint, Err: err}
	}
	if err := secretless(r.Address); err != nil {
		return failed("clone it beforehand", err)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		return failed("install git, or clone it beforehand and COPY it", errors.New("there is no git program on PATH"))
	}
	dir, err := os.MkdirTemp("", "clone-*")
	if err != nil {
		return failed("", fault.Cause(err))
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silence := time.AfterFunc(patience, func() { cancel(fmt.Errorf("git has said nothing for %s", patience)) })
	defer silence.Stop()
	w := worktree{ctx: ctx, silence: silence, git: git, dir: dir, env: append(c.environment(), c.login(r.Address)...)}
	if err := w.checkOut(r); err != nil {
		return failed("check the address and the branch; a private repository needs --secret id=GIT_AUTH_TOKEN,env=TOKEN", err)
	}
	f, err := c.spool(func(to io.Writer) error { return w.pack(to, r) })
	if err != nil {
		return failed("", err)
	}
	return f, nil
}

// environment is what git needs to reach a server, and nothing else.
func (c *Client) environment() []string {
	env := []string{"LC_ALL=C", "GIT_TERMINAL_PROMPT=0", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
		"GIT_SSH_COMMAND=ssh -o BatchMode=yes"}
	for _, name := range []string{"PATH", "HOME", "TMPDIR", "SSH_AUTH_SOCK", "SSL_CERT_FILE", "SSL_CERT_DIR", "http_proxy", "https_proxy",
		"HTTPS_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY"} {
		if value := c.options.Getenv(name); value != "" {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// login gives git the token for a repository's host, which it does not take along to another.
func (c *Client) login(address string) []string {
	u, err := url.Parse(address)
	if err != nil || c.options.GitToken == nil || u.Scheme != "https" && !(u.Scheme == "http" && loopback(u.Hostname())) {
		return nil
	}
	token := c.options.GitToken(u.Host)
	if token == "" {
		return nil
	}
	basic := base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token))
	return []string{"GIT_CONFIG_COUNT=2",
		"GIT_CONFIG_KEY_0=http." + u.Scheme + "://" + u.Host + "/.extraHeader", "GIT_CONFIG_VALUE_0=Authorization: Basic " + basic,
		"GIT_CONFIG_KEY_1=http.followRedirects", "GIT_CONFIG_VALUE_1=false"}
}

func loopback(host string) bool { return host == "localhost" || net.ParseIP(host).IsLoopback() }

// worktree is a folder that git works in.
type worktree struct {
	ctx     context.Context
	silence *time.Timer // ends it
	git     string
	dir     string
	env     []string
}

// run runs git, as long as it says something: its progress is the server's sign of life. Only protocols that reach another
// machine are allowed, for a submodule's address is a stranger's.
func (w worktree) run(args ...string) (string, error) {
	guards := []string{"-c", "protocol.allow=never", "-c", "core.hooksPath=" + os.DevNull, "-c", "advice.detachedHead=false"}
	for _, protocol := range []string{"http", "https", "git", "ssh"} {
		guards = append(guards, "-c", "protocol."+protocol+".allow=always")
	}
	cmd := exec.CommandContext(w.ctx, w.git, append(guards, args...)...)
	leash.Put(cmd)
	cmd.Dir, cmd.Env = w.dir, w.env
	var out bytes.Buffer
	said := progress{silence: w.silence}
	cmd.Stdout, cmd.Stderr = &out, &said
	w.silence.Reset(patience)
	if err := cmd.Run(); err != nil {
		if w.ctx.Err() != nil {
			return "", context.Cause(w.ctx)
		}
		lines := strings.Split(strings.TrimSpace(string(said.end)), "\n")
		return "", fmt.Errorf("git %s: %s", args[0], fault.Said(lines[len(lines)-1], 1000))
	}
	return strings.TrimSpace(out.String()), nil
}

// progress is the end of what git says, each word of which puts off the end of patience.
type progress struct {
	silence *time.Timer
	end     []byte
}

func (p *progress) Write(text []byte) (int, error) {
	p.silence.Reset(patience)
	p.end = append(p.end, text...)
	p.end = p.end[max(0, len(p.end)-4096):]
	return len(text), nil
}

// checkOut puts the files of a commit into the folder. One commit is fetched; where a server cannot do that, all are.
func (w worktree) checkOut(r Repository) error {
	if strings.HasPrefix(r.Ref, "-") || strings.HasPrefix(r.Address, "-") {
		return errors.New("neither an address nor a branch begins with a dash")
	}
	ref := r.Ref
	if ref == "" {
		ref = "HEAD"
	}
	if _, err := w.run("init", "--quiet", "--template="); err != nil {
		return err
	}
	if _, err := w.run("remote", "add", "origin", r.Address); err != nil {
		return err
	}
	commit := "FETCH_HEAD"
	if _, err := w.run("fetch", "--progress", "--depth=1", "origin", ref); err != nil {
		if _, all := w.run("fetch", "--progress", "--tags", "origin"); all != nil {
			return err
		}
		commit = ref // which may be the beginning of a commit's name
	}
	is, err := w.run("rev-parse", "--verify", "--quiet", "--end-of-options", commit+"^{commit}")
	if err != nil {
		return fmt.Errorf("there is no branch, tag or commit %s", r.Ref)
	}
	if !strings.HasPrefix(is, r.Commit) {
		return fmt.Errorf("%s is the commit %s, not %s", ref, is, r.Commit)
	}
	if _, err := w.run("checkout", "--progress", "--detach", is); err != nil {
		return err
	}
	if r.Submodules {
		_, err = w.run("submodule", "update", "--progress", "--init", "--recursive", "--depth=1")
	}
	return err
}

// committed is when the commit was made.
func (w worktree) committed() (time.Time, error) {
	said, err := w.run("show", "--no-patch", "--format=%ct", "HEAD")
	if err != nil {
		return time.Time{}, err
	}
	seconds, err := strconv.ParseInt(said, 10, 64)
	return time.Unix(seconds, 0), err
}

// pack writes the files as a tar, root's, with the modes that git knows and the time of the commit: the same commit is the
// same tar.
func (w worktree) pack(to io.Writer, r Repository) error {
	committed, err := w.committed()
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(w.dir)
	if err != nil {
		return err
	}
	defer root.Close()
	if subdir := strings.TrimPrefix(path.Join("/", r.Subdir), "/"); subdir != "" {
		if root, err = root.OpenRoot(subdir); err != nil {
			return fmt.Errorf("the folder %s: %w", subdir, fault.Cause(err))
		}
		defer root.Close()
	}
	tw := tar.NewWriter(to)
	err = fs.WalkDir(root.FS(), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil || name == ".":
			return err
		case path.Base(name) != ".git" || r.KeepGitDir:
			return packEntry(tw, root, name, d, committed)
		case d.IsDir():
			return fs.SkipDir
		}
		return nil
	})
	return errors.Join(err, tw.Close())
}

func packEntry(tw *tar.Writer, root *os.Root, name string, d fs.DirEntry, changed time.Time) error {
	info, err := d.Info()
	if err != nil {
		return err
	}
	hdr := &tar.Header{Name: name, Mode: 0o644, ModTime: changed, Format: tar.FormatPAX}
	switch {
	case d.IsDir():
		hdr.Typeflag, hdr.Name, hdr.Mode = tar.TypeDir, name+"/", 0o755
	case info.Mode()&fs.ModeSymlink != 0:
		hdr.Typeflag, hdr.Mode = tar.TypeSymlink, 0o777
		if hdr.Linkname, err = root.Readlink(name); err != nil {
			return err
		}
	default:
		hdr.Typeflag, hdr.Size = tar.TypeReg, info.Size()
		if info.Mode()&0o100 != 0 {
			hdr.Mode = 0o755
		}
	}
	if err := tw.WriteHeader(hdr); err != nil || hdr.Size == 0 {
		return err
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(tw, f)
	return err
}
