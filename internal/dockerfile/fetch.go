package dockerfile

import (
	"archive/tar"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/moby/buildkit/frontend/dockerfile/dfgitutil"
	digest "github.com/opencontainers/go-digest"

	"github.com/ksera524/imgbump/internal/fault"
)

// Repository is a git repository that ADD names, and what is wanted of it.
type Repository struct {
	Address    string
	Ref        string // branch, tag or commit; empty is the default branch
	Commit     string // what Ref must be, or the beginning of it; empty is anything
	Subdir     string // of the repository, empty is all of it
	KeepGitDir bool
	Submodules bool
}

// fetched is what a word of ADD names outside of the build context: a repository, or else an address.
type fetched struct {
	repository *Repository
	address    string
	checksum   digest.Digest
}

// fetched reads a source; it is nil when the source is a path. The rules are BuildKit's: https://HOST/NAME.git is a
// repository, as is what begins with git@ or a scheme of git's.
func (c copied) fetched(source string) (*fetched, error) {
	ref, isGit, err := dfgitutil.ParseGitRef(source)
	switch {
	case err != nil && isGit:
		return nil, err
	case err == nil && !ref.IndistinguishableFromLocal:
		return c.repository(ref)
	case !strings.HasPrefix(source, "http://") && !strings.HasPrefix(source, "https://"):
		return nil, nil
	}
	f := &fetched{address: source}
	if c.checksum != "" {
		if f.checksum, err = digest.Parse(c.checksum); err != nil {
			return nil, fmt.Errorf("--checksum=%s: %w", c.checksum, err)
		}
	}
	return f, nil
}

func (c copied) repository(ref *dfgitutil.GitRef) (*fetched, error) {
	if c.keepGitDir != nil && ref.KeepGitDir != nil && *c.keepGitDir != *ref.KeepGitDir {
		return nil, errors.New("--keep-git-dir says other than the address")
	}
	if c.checksum != "" && ref.Checksum != "" && c.checksum != ref.Checksum {
		return nil, errors.New("--checksum says other than the address")
	}
	r, err := newRepository(ref)
	if err != nil {
		return nil, err
	}
	r.Commit = cmp.Or(c.checksum, r.Commit)
	r.KeepGitDir = r.KeepGitDir || c.keepGitDir != nil && *c.keepGitDir
	return &fetched{repository: r}, nil
}

// newRepository is what an address says.
func newRepository(ref *dfgitutil.GitRef) (*Repository, error) {
	if ref.MTime == "checkout" {
		return nil, notYet("mtime=checkout", "files bear the time of the commit, so that the same commit makes the same layer")
	}
	r := &Repository{Address: ref.Remote, Ref: ref.Ref, Commit: ref.Checksum, Subdir: ref.SubDir,
		KeepGitDir: ref.KeepGitDir != nil && *ref.KeepGitDir, Submodules: ref.Submodules == nil || *ref.Submodules}
	if ref.FetchByCommit {
		r.Ref = ref.Checksum
	}
	return r, nil
}

// ParseRepository reads the address of a git repository that is a build context, as BuildKit does; nil for anything else.
func ParseRepository(address string) (*Repository, error) {
	ref, isGit, err := dfgitutil.ParseGitRef(address)
	switch {
	case err != nil && isGit:
		return nil, err
	case err != nil:
		return nil, nil
	}
	r, err := newRepository(ref)
	if err == nil && ref.IndistinguishableFromLocal {
		r.Address = "https://" + r.Address
	}
	return r, err
}

// examineFetched finds what is wrong with the sources of a copy that are to be fetched, before one is.
func (b *builder) examineFetched(c copied) error {
	for _, source := range c.SourcePaths {
		f, err := c.fetched(source)
		switch {
		case err != nil:
			return err
		case f != nil && c.name != "ADD":
			return fmt.Errorf("COPY cannot fetch %s", fault.Address(source))
		case c.checksum != "" && f == nil:
			return fmt.Errorf("--checksum is for what is fetched, and %s is a path", source)
		case c.checksum != "" && len(c.SourcePaths) > 1:
			return errors.New("--checksum is for one source, and there are several")
		case f != nil && f.address != "" && b.src.Download == nil, f != nil && f.repository != nil && b.src.Clone == nil:
			return &fault.Error{Hint: "fetch it beforehand and COPY it", Err: fmt.Errorf("%s cannot be fetched here", fault.Address(source))}
		case f != nil:
			if err := secretless(source); err != nil {
				return err
			}
		}
	}
	return nil
}

// secretless refuses an address with a password: the image's history would tell it.
func secretless(source string) error {
	u, err := url.Parse(source)
	if err != nil || u.User == nil {
		return nil
	}
	if _, ok := u.User.Password(); ok || strings.HasPrefix(u.Scheme, "http") {
		return &fault.Error{Hint: "fetch it beforehand and COPY it",
			Err: fmt.Errorf("%s: the image's history would keep the password", fault.Address(source))}
	}
	return nil
}

// add carries out an ADD of a source that is to be fetched; it reports false for any other.
func (b *builder) add(ctx context.Context, p *plan, c copied, source, dest string) (bool, error) {
	f, err := c.fetched(source)
	if err != nil || f == nil {
		return false, err
	}
	if f.repository != nil {
		return true, b.clone(ctx, p, *f.repository, dest)
	}
	return true, b.download(ctx, p, f, dest, c.unpackFetched)
}

// download puts what is at an address to dest. As with BuildKit only its owner may read it, and it bears the time at which
// the server says it was changed, or else 1970.
func (b *builder) download(ctx context.Context, p *plan, f *fetched, dest string, unpack bool) error {
	disk, modified, err := b.src.Download(ctx, f.address)
	if err != nil {
		return err
	}
	content, err := newSpooled(disk)
	if err != nil {
		return err
	}
	if f.checksum != "" {
		verifier := f.checksum.Verifier()
		if r, err := content.open(); err != nil {
			return err
		} else if _, err := io.Copy(verifier, r); err != nil {
			return err
		}
		if !verifier.Verified() {
			return fmt.Errorf("%s does not have the digest %s", fault.Address(f.address), f.checksum)
		}
	}
	file := regular(content)
	if !modified.IsZero() {
		file.ModTime = modified
	}
	if unpack {
		if a, err := asArchive(file); err != nil || a != nil {
			return errors.Join(err, p.unpack(ctx, a, dest))
		}
	}
	name := path.Join("/", addressName(f.address))
	t := newTree()
	t.put(name, file, ours)
	return p.copy(t, name, dest)
}

// addressName is what a file from an address is called, as in BuildKit.
func addressName(address string) string {
	if u, err := url.Parse(address); err == nil {
		if base := path.Base(u.Path); base != "." && base != "/" && base != ".." {
			return base
		}
	}
	return "__unnamed__"
}

// clone puts the files of a repository to dest.
func (b *builder) clone(ctx context.Context, p *plan, r Repository, dest string) error {
	disk, err := b.src.Clone(ctx, r)
	if err != nil {
		return err
	}
	content, err := newSpooled(disk)
	if err != nil {
		return err
	}
	t := newTree()
	if err := t.apply(ctx, &archive{open: content.open, identity: content.identity}, ours); err != nil {
		return fmt.Errorf("reading %s: %w", fault.Address(r.Address), err)
	}
	return p.copy(t, "/", dest)
}

// spooled is content that was fetched to a file, which others read too.
type spooled struct {
	file *os.File
	size int64
	sum  digest.Digest
}

func newSpooled(disk *os.File) (s spooled, err error) {
	s.file = disk
	info, err := disk.Stat()
	if err == nil {
		s.size = info.Size()
		s.sum, err = digest.FromReader(io.NewSectionReader(disk, 0, s.size))
	}
	return s, err
}

// regular is a file of that content, which only its owner may read.
func regular(s spooled) *file {
	f := &file{Header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o600, Size: s.size, ModTime: time.Unix(0, 0)}}
	if s.size > 0 {
		f.content = s
	}
	return f
}

func (s spooled) identity() (string, bool) { return s.sum.String(), true }

func (s spooled) open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.file, 0, s.size)), nil
}
