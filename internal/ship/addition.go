package ship

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
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

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// Addition is a file or a folder, and where it goes in an image: a folder's content below To, a file to To, or into To when
// that ends in a slash. Owner is root unless it is given.
type Addition struct {
	From, To string
	Mode     fs.FileMode // of the files; folders may be searched where they may be read. 0 leaves what there is
	UID, GID int
	folder   bool
}

const additionHint = "for example: --add ./dist:/app or --add ./app:/usr/bin/app:mode=0755,owner=1000:1000"

// ParseAddition reads SRC:DST[:mode=MODE,owner=UID[:GID]].
func ParseAddition(typed string) (Addition, error) {
	from, rest, _ := strings.Cut(typed, ":")
	to, options := rest, ""
	for _, key := range []string{":mode=", ":owner="} {
		if i := strings.Index(rest, key); i >= 0 && i < len(to) {
			to, options = rest[:i], rest[i+1:]
		}
	}
	a := Addition{From: from, To: to}
	if from == "" || to == "" {
		return a, fault.Usagef(additionHint, "--add %q is not SRC:DST", typed)
	}
	for option := range strings.SplitSeq(options, ",") {
		var err error
		switch key, value, _ := strings.Cut(option, "="); key {
		case "":
		case "mode":
			var mode uint64
			if mode, err = strconv.ParseUint(value, 8, 32); mode > 0o7777 || mode == 0 {
				err = errors.New("it is octal, up to 7777")
			}
			a.Mode = fs.FileMode(mode)
		case "owner":
			uid, gid, both := strings.Cut(value, ":")
			if a.UID, err = number(uid); both && err == nil {
				a.GID, err = number(gid)
			} else {
				a.GID = a.UID
			}
		default:
			err = errors.New("there are mode= and owner=")
		}
		if err != nil {
			return a, fault.Usagef(additionHint, "--add %q: %s: %w", typed, option, err)
		}
	}
	return a, nil
}

func number(s string) (int, error) {
	n, err := strconv.ParseUint(s, 10, 31)
	if err != nil {
		return 0, errors.New("an owner is a number, or two: UID:GID")
	}
	return int(n), nil
}

// layer is what is added, as it is now: one walk that reads no file. A layer whose files have rested since their last
// change is known by their times, sizes and inodes. No file is newer than epoch, unless that is zero.
func (a Addition) layer(ctx context.Context, g *ground, epoch, now time.Time) (v1.Layer, error) {
	w, err := a.walk(ctx, g, epoch, now)
	var told *fault.Error
	if errors.As(err, &told) {
		return nil, err
	}
	if err != nil {
		return nil, &fault.Error{What: "add", Where: a.From, Hint: "SRC is a file or folder of this machine, from the current folder on", Err: fault.Cause(err)}
	}
	context.AfterFunc(ctx, func() { w.root.Close() })
	return image.NewLayerOf(w.source(), func(tw *tar.Writer) error {
		for _, f := range w.files {
			if err := f.write(ctx, tw, w.root); err != nil {
				return &fault.Error{What: "add", Where: filepath.Join(w.root.Name(), f.path), Err: fault.Cause(err)}
			}
		}
		return nil
	}), nil
}

func (a Addition) walk(ctx context.Context, g *ground, epoch, now time.Time) (*walk, error) {
	from, err := filepath.EvalSymlinks(a.From)
	if err != nil {
		return nil, err
	}
	stat, err := os.Stat(from)
	if err != nil {
		return nil, err
	}
	dir, name := from, "."
	if a.folder = stat.IsDir(); !a.folder {
		dir, name = filepath.Split(from)
		if strings.HasSuffix(a.To, "/") {
			a.To = path.Join(a.To, filepath.Base(a.From))
		}
	}
	a.To = path.Clean("/" + a.To)
	root, err := os.OpenRoot(cmp.Or(dir, "."))
	if err != nil {
		return nil, err
	}
	w := &walk{Addition: a, root: root, epoch: epoch, started: now, state: sha256.New(), links: map[[2]uint64]string{}}
	if err = w.land(ctx, g); err == nil {
		err = fs.WalkDir(os.DirFS(root.Name()), name, w.visit) // which follows no link, and is faster than root
	}
	if err == nil {
		err = w.raise()
	}
	if err != nil {
		root.Close()
		return nil, err
	}
	g.before = append(g.before, w.files...)
	return w, nil
}

// write adds the file to the tar, and insists on the size that the walk saw.
func (f found) write(ctx context.Context, tw *tar.Writer, root *os.Root) error {
	if err := tw.WriteHeader(&f.header); err != nil || f.header.Typeflag != tar.TypeReg {
		return err
	}
	file, err := root.OpenFile(f.path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	n, err := io.Copy(tw, io.LimitReader(image.Within(ctx, file), f.header.Size))
	if err != nil {
		return err
	}
	if stat, err := file.Stat(); err != nil || n != f.header.Size || stat.Size() != n {
		return image.ErrChanged
	}
	return nil
}
