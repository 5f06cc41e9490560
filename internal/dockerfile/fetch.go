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
	is := func(b *bool) bool { return b != nil && *b }
	return &fetched{repository: &Repository{Address: ref.Remote, Ref: ref.Ref, Commit: cmp.Or(c.checksum, ref.Checksum),
		Subdir: ref.SubDir, KeepGitDir: is(c.keepGitDir) || is(ref.KeepGitDir), Submodules: ref.Submodules == nil || *ref.Submodules}}, nil
}

// examineFetched finds what is wrong with the sources of a copy that are to be fetched, before one is.
func (b *builder) examineFetched(c copied) error {
	for _, source := range c.SourcePaths {
		f, err := c.fetched(source)
		switch {
		case err != nil:
			return err
		case f != nil && c.name != "ADD":
			return fmt.Errorf("COPY cannot fetch %s", plainAddress(source))
		case c.checksum != "" && f == nil:
			return fmt.Errorf("--checksum is for what is fetched, and %s is a path", source)
		case c.checksum != "" && len(c.SourcePaths) > 1:
			return errors.New("--checksum is for one source, and there are several")
		case f != nil && f.address != "" && b.src.Download == nil, f != nil && f.repository != nil && b.src.Clone == nil:
			return &fault.Error{Hint: "fetch it beforehand and COPY it", Err: fmt.Errorf("%s cannot be fetched here", plainAddress(source))}
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
	if u, err := url.Parse(source); err == nil && u.User != nil {
		if _, ok := u.User.Password(); ok {
			return &fault.Error{Hint: "fetch it beforehand and COPY it",
				Err: fmt.Errorf("%s: the image's history would keep the password", plainAddress(source))}
		}
	}
	return nil
}

// plainAddress is an address without a password that is in it.
func plainAddress(source string) string {
	if u, err := url.Parse(source); err == nil && u.User != nil {
		return u.Redacted()
	}
	return source
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
			return fmt.Errorf("%s does not have the digest %s", plainAddress(f.address), f.checksum)
		}
	}
	if modified.IsZero() {
		modified = time.Unix(0, 0)
	}
	file := &file{Header: tar.Header{Typeflag: tar.TypeReg, Mode: 0o600, Size: content.size, ModTime: modified}}
	if content.size > 0 {
		file.content = content
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
		return fmt.Errorf("reading %s: %w", plainAddress(r.Address), err)
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

func (s spooled) identity() (string, bool) { return s.sum.String(), true }

func (s spooled) open() (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(s.file, 0, s.size)), nil
}
