package ship

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
)

// Fetch is how a context or ADD gets what is elsewhere, as dockerfile.Sources has it.
type Fetch struct {
	Download func(ctx context.Context, address string) (*os.File, time.Time, error)
	Clone    func(ctx context.Context, r dockerfile.Repository) (*os.File, error)
}

// keepGitDir is the build argument with which BuildKit keeps .git in a context from a repository.
const keepGitDir = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"

// maxDockerfile is how much of what is no archive is read as a Dockerfile, in bytes.
const maxDockerfile = 16 << 20

// ContextName is a build context as messages call it.
func ContextName(typed string) string {
	if typed == standard {
		return "standard input"
	}
	return fault.Address(typed)
}

// place is a build context that is open.
type place struct {
	dockerfile.Context
	folder bool   // on disk: the Dockerfile is where its path says, else in the context
	text   []byte // of the Dockerfile, when the context is one
}

// open opens a build context: a folder, a tar, the address of a tar or of a git repository, or standard input. Nothing of a tar
// or a repository is unpacked.
func (b Build) open(ctx context.Context, name string, opened *closers) (place, error) {
	failed := func(hint string, err error) (place, error) {
		return place{}, &fault.Error{What: "open the build context", Where: ContextName(name), Hint: hint, Err: fault.Cause(err)}
	}
	if name == standard {
		p, err := b.unpack(ctx, b.Stdin)
		if err != nil {
			return failed("give a Dockerfile or a tar on standard input", err)
		}
		return p, nil
	}
	switch stat, err := os.Stat(name); {
	case err == nil && stat.IsDir():
		root, err := os.OpenRoot(name)
		if err != nil {
			return failed("", err)
		}
		*opened = append(*opened, root)
		return place{Context: dockerfile.Folder(root), folder: true}, nil
	case err == nil && stat.Mode().IsRegular():
		return b.openArchive(ctx, name, opened)
	case err == nil:
		return failed("give it on standard input: -", errors.New("it is neither a file nor a folder"))
	}
	p, err := b.openRemote(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return failed("CONTEXT is a folder, a tar, - for standard input, or the address of a tar or a git repository", err)
	}
	return p, err
}

func (b Build) openArchive(ctx context.Context, name string, opened *closers) (place, error) {
	f, err := os.Open(name)
	if err != nil {
		return place{}, &fault.Error{What: "open the build context", Where: name, Err: fault.Cause(err)}
	}
	*opened = append(*opened, f)
	files, err := dockerfile.Archive(ctx, f)
	if err == nil && files == nil {
		err = errors.New("it is neither a folder nor a tar")
	}
	if err != nil {
		return place{}, &fault.Error{What: "open the build context", Where: name, Hint: "name a Dockerfile with -f", Err: err}
	}
	return place{Context: files}, nil
}

// openRemote fetches a context; ENOENT says that the name is no address.
func (b Build) openRemote(ctx context.Context, name string) (place, error) {
	repository, err := dockerfile.ParseRepository(name)
	switch {
	case err != nil:
		return place{}, &fault.Error{Kind: fault.Usage, What: "read the address", Where: fault.Address(name), Err: err}
	case repository != nil:
		keep, _ := strconv.ParseBool(b.Options.Args[keepGitDir])
		repository.KeepGitDir = repository.KeepGitDir || keep
		f, err := b.Fetch.Clone(ctx, *repository)
		if err != nil {
			return place{}, err
		}
		files, err := dockerfile.Archive(ctx, f)
		if err == nil && files == nil { // a commit without a file
			files = dockerfile.Empty()
		}
		return place{Context: files}, err
	case !addressed(name):
		return place{}, syscall.ENOENT
	}
	f, _, err := b.Fetch.Download(ctx, name)
	if err != nil {
		return place{}, err
	}
	p, err := b.unpack(ctx, f)
	if err != nil {
		err = &fault.Error{What: "read the build context", Where: fault.Address(name), Err: err}
	}
	return p, err
}

// addressed reports whether a context is a file that is fetched over HTTP.
func addressed(name string) bool {
	return strings.HasPrefix(name, "http://") || strings.HasPrefix(name, "https://")
}

// unpack is the context that a file is: a tar of it, or the Dockerfile of an empty one.
func (b Build) unpack(ctx context.Context, f *os.File) (place, error) {
	files, err := dockerfile.Archive(ctx, f)
	if err != nil || files != nil {
		return place{Context: files}, err
	}
	text, err := io.ReadAll(io.NewSectionReader(f, 0, maxDockerfile+1))
	switch {
	case err != nil:
		return place{}, err
	case len(text) > maxDockerfile || !utf8.Valid(text) || strings.ContainsRune(string(text), 0):
		return place{}, errors.New("it is neither a Dockerfile nor a tar that can be read")
	}
	return place{Context: dockerfile.Empty(), text: text}, nil
}

// openNamed opens what a --build-context says. As with BuildKit what is at an address is one file, called context.
func (b Build) openNamed(ctx context.Context, name, value string, opened *closers) (dockerfile.Context, error) {
	failed := func(err error) (dockerfile.Context, error) {
		return nil, &fault.Error{Kind: fault.Usage, What: "open the build context", Where: name + "=" + fault.Address(value), Err: fault.Cause(err),
			Hint: "--build-context takes NAME=FOLDER, a tar, an address, docker-image://REF or oci-layout://DIR"}
	}
	if value == standard {
		return failed(errors.New("standard input is for CONTEXT"))
	}
	if repository, _ := dockerfile.ParseRepository(value); repository == nil && addressed(value) {
		f, modified, err := b.Fetch.Download(ctx, value)
		if err != nil {
			return nil, err
		}
		return dockerfile.Single("context", f, modified)
	}
	p, err := b.open(ctx, value, opened)
	if errors.Is(err, fs.ErrNotExist) {
		return failed(syscall.ENOENT)
	}
	return p.Context, err
}

// dockerfile is the text of the Dockerfile.
func (b Build) dockerfile(p place) (text []byte, err error) {
	switch {
	case b.Text != nil:
		return b.Text, nil
	case p.text != nil:
		return p.text, nil
	}
	text, err = b.text(p, "")
	if err != nil {
		return nil, &fault.Error{What: "read the Dockerfile", Where: b.path(p), Hint: "name it with -f FILE", Err: fault.Cause(err)}
	}
	return text, nil
}

// path is where the Dockerfile is: on disk, or in a context that is no folder.
func (b Build) path(p place) string {
	switch {
	case b.Dockerfile != "":
		return b.Dockerfile
	case p.folder:
		return filepath.Join(b.Context, "Dockerfile")
	}
	return "Dockerfile"
}

// text is the Dockerfile, or with a suffix a file beside it. One that nobody named is in the context, and no link leads out.
func (b Build) text(p place, suffix string) ([]byte, error) {
	name := b.Dockerfile + suffix
	switch {
	case b.Dockerfile == "":
		return p.ReadFile("Dockerfile" + suffix)
	case p.folder:
		return dockerfile.ReadText(func(flag int) (*os.File, error) { return os.OpenFile(name, flag, 0) })
	}
	return p.ReadFile(path.Join("/", filepath.ToSlash(name))[1:])
}

// ignored is the text of the ignore file that counts: the one beside the Dockerfile, which belongs to it alone, else that
// of the context (Docker's reference, "Filename and location" of .dockerignore).
func (b Build) ignored(p place) (text []byte, where string, err error) {
	where = b.path(p) + dockerignore
	text, err = b.text(p, dockerignore)
	if errors.Is(err, fs.ErrNotExist) {
		where = dockerignore
		if p.folder {
			where = filepath.Join(b.Context, dockerignore)
		}
		if text, err = p.ReadFile(dockerignore); errors.Is(err, fs.ErrNotExist) {
			return nil, where, nil
		}
	}
	if err != nil {
		return nil, where, &fault.Error{What: "read", Where: where, Err: fault.Cause(err)}
	}
	return text, where, nil
}

const dockerignore = ".dockerignore"

// closers are what a build has open.
type closers []io.Closer

func (c closers) Close() {
	for _, closer := range c {
		closer.Close()
	}
}
