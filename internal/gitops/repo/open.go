// Package repo is git as the bump pipeline needs it: the files of a commit, a commit made of replaced files, and a
// branch moved by compare-and-swap, locally or on a remote.
//
// It works on the object store and the wire protocol, never on a working tree, so that it is fast on large
// repositories and indifferent to how the checkout was made: shallow, sparse, partial, detached, linked. The working
// files follow afterwards, where that touches nothing of the user's.
package repo

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/go-git/go-billy/v5/osfs"
	"github.com/go-git/go-git/v5/plumbing/cache"
	"github.com/go-git/go-git/v5/storage/filesystem"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/openssh"
)

// Signature is who made a commit.
type Signature struct{ Name, Email string }

// Credential is a login for one host. Name says where it came from ("IMGBUMP_TOKEN"), for messages; the Secret is
// never shown.
type Credential struct{ Username, Secret, Name string }

// Options of a repository. The zero value works like git itself.
type Options struct {
	Author  Signature // author and committer; empty: git's user.name and user.email, else the runner's bot
	SignOff bool      // end the message with Signed-off-by
	Signer  Signer    // signs commits; nil: as git is configured, if we can

	// Unsigned commits are those that somebody else signs: GitHub those that its API makes.
	Unsigned bool

	// Credential gives the login meant for the server of an address, and wins over what the checkout has; without a
	// Secret there is none. An error is that the server must not see it. It is asked before the first request.
	Credential func(ctx context.Context, address *url.URL) (Credential, error)
	CAFile     string // PEM certificates to trust besides the system's

	SSH         openssh.Options // the key and the known hosts that were asked for
	PushOptions []string        // for the server's hooks; none: git's push.pushOption

	// Observe is told of each request to a server, when its answer began: what it was for (refs, fetch, push, api), and the
	// status of HTTP, 0 without an answer. Several goroutines may call it at once; nil is nobody.
	Observe func(host, operation string, status int, took time.Duration)

	Now    func() time.Time
	Getenv func(string) string
	Warn   func(string) // something the user should know, though the work was done
	Mask   func(string) // a secret was found: keep it out of logs
}

func (o Options) withDefaults() Options {
	if o.Credential == nil {
		o.Credential = func(context.Context, *url.URL) (Credential, error) { return Credential{}, nil }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Getenv == nil {
		o.Getenv = os.Getenv
	}
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Mask == nil {
		o.Mask = func(string) {}
	}
	return o
}

// Repo is a repository with a checkout, or without one: then the paths are empty.
type Repo struct {
	root    string // top of the working tree, symbolic links resolved
	gitDir  string // HEAD and index; a linked worktree has its own
	common  string // objects, branches and configuration
	config  settings
	options Options
	disk    []*filesystem.Storage // the repository's objects, then those it borrows
	closers []func() error

	signing struct {
		once sync.Once
		by   Signer // nil when nobody signs
	}
}

// Open finds the repository that dir lies in. GIT_DIR is ignored: dir alone decides.
func Open(dir string, options Options) (*Repo, error) {
	r := &Repo{options: options.withDefaults()}
	if err := r.discover(dir); err != nil {
		return nil, &fault.Error{What: "open the repository of", Where: dir, Err: err,
			Hint: "run inside a checkout, or leave --commit and --push away to edit the files only"}
	}
	var err error
	if r.config, err = r.readConfig(); err != nil {
		return nil, &fault.Error{What: "read git's configuration for", Where: r.root, Err: err}
	}
	for extension, refused := range map[string]unsupported{"objectformat": sha256, "refstorage": "reftable"} {
		if value := r.config.value("extensions", "", extension); strings.EqualFold(value, string(refused)) {
			return nil, &fault.Error{What: "open", Where: r.root, Err: refused}
		}
	}
	for _, dir := range r.objectDirs(filepath.Join(r.common, "objects"), 0) {
		store := filesystem.NewStorageWithOptions(osfs.New(filepath.Dir(dir)), cache.NewObjectLRU(8<<20), filesystem.Options{KeepDescriptors: true})
		r.disk, r.closers = append(r.disk, store), append(r.closers, store.Close)
	}
	return r, nil
}

// unsupported is a kind of repositories that cannot be worked with.
type unsupported string

const sha256 unsupported = "sha256"

func (u unsupported) Error() string { return string(u) + " repositories are not supported yet" }

// NoCheckout is a repository without a working tree, for remotes that are named by their address. Git's configuration is
// the system's and the user's.
func NoCheckout(options Options) (*Repo, error) {
	r := &Repo{options: options.withDefaults()}
	var err error
	if r.config, err = r.readConfig(); err != nil {
		return nil, &fault.Error{What: "read", Where: "git's configuration", Err: err}
	}
	return r, nil
}

// Close lets go of the files and connections that reading keeps open.
func (r *Repo) Close() error {
	var errs []error
	for _, closer := range r.closers {
		errs = append(errs, closer())
	}
	return errors.Join(errs...)
}

// Root is the top folder of the working tree, with symbolic links resolved.
func (r *Repo) Root() string { return r.root }

// Prefix is where dir lies in the repository, with slashes; the root is "".
func (r *Repo) Prefix(dir string) (string, error) {
	dir, err := resolved(dir)
	if err != nil {
		return "", err
	}
	rel, err := filepath.Rel(r.root, dir)
	if err != nil || !filepath.IsLocal(rel) {
		return "", fault.Usagef("name a folder of this repository", "%s is outside of %s", dir, r.root)
	}
	if rel == "." {
		return "", nil
	}
	return filepath.ToSlash(rel), nil
}

// discover walks upwards to a folder with a .git: a folder, or a file that names one (linked worktree, submodule).
func (r *Repo) discover(dir string) error {
	dir, err := resolved(dir)
	if err != nil {
		return err
	}
	for r.root = dir; ; r.root = filepath.Dir(r.root) {
		r.gitDir = filepath.Join(r.root, ".git")
		if info, err := os.Stat(r.gitDir); err == nil {
			if !info.IsDir() {
				if r.gitDir, err = pointer(r.gitDir, "gitdir: "); err != nil {
					return err
				}
			}
			break
		}
		if exists(r.root, "HEAD") && exists(r.root, "objects") && exists(r.root, "refs") {
			return errors.New("it is a bare repository, without files to change")
		}
		if r.root == filepath.Dir(r.root) {
			return errors.New("no git repository here or above")
		}
	}
	if !exists(r.gitDir, "HEAD") {
		return fmt.Errorf("%s is not a git folder", r.gitDir)
	}
	r.common, err = pointer(filepath.Join(r.gitDir, "commondir"), "")
	if errors.Is(err, fs.ErrNotExist) {
		r.common, err = r.gitDir, nil
	}
	return err
}

// objectDirs are the folders that hold objects: dir, and those its alternates file names (git clone --shared and
// --reference).
func (r *Repo) objectDirs(dir string, depth int) []string {
	dirs := []string{dir}
	alternates, err := os.ReadFile(filepath.Join(dir, "info", "alternates"))
	if err != nil || depth > 5 { // git's own limit
		return dirs
	}
	for line := range strings.Lines(string(alternates)) {
		line = strings.TrimSpace(line)
		switch {
		case line == "" || line[0] == '#':
			continue
		case !filepath.IsAbs(line):
			line = filepath.Join(dir, line)
		}
		dirs = append(dirs, r.objectDirs(line, depth+1)...)
	}
	return dirs
}

// pointer reads a file that holds a path, relative to the file's folder.
func pointer(file, prefix string) (string, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return "", err
	}
	path, ok := strings.CutPrefix(strings.TrimSpace(string(data)), prefix)
	if !ok {
		return "", fmt.Errorf("%s does not name a git folder", file)
	}
	if !filepath.IsAbs(path) {
		path = filepath.Join(filepath.Dir(file), path)
	}
	return filepath.Clean(path), nil
}

func resolved(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

func exists(elem ...string) bool {
	_, err := os.Stat(filepath.Join(elem...))
	return err == nil
}
