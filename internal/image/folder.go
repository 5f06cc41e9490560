package image

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/ksera524/imgbump/internal/fault"
)

// WriteFolder puts the files of the tar that write gives below dir, among what is there: files and links are replaced, folders
// are kept. They arrive together: when something fails before the last byte is read, dir is as it was. Nothing outside of dir
// is written, wherever links of it or of the tar point. Owners are those of the tar when root runs it. Directories come before
// what is in them. Devices and pipes are refused.
func WriteFolder(dir string, write func(*tar.Writer) error) (err error) {
	failed := func(err error) error { return &fault.Error{What: "write folder", Where: dir, Err: err} }
	undo, err := makeDir(dir)
	defer func() {
		if err != nil {
			undo()
		}
	}()
	if err != nil {
		return failed(fault.Cause(err))
	}
	incoming, err := os.MkdirTemp(dir, ".incoming-*")
	if err != nil {
		return failed(fault.Cause(err))
	}
	defer os.RemoveAll(incoming)
	if err := receive(dir, filepath.Base(incoming), write); err != nil {
		return failed(err)
	}
	return nil
}

func receive(dir, incoming string, write func(*tar.Writer) error) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return fault.Cause(err)
	}
	defer root.Close()
	r := pipe(func(w io.Writer) error {
		tw := tar.NewWriter(w)
		if err := write(tw); err != nil {
			return err
		}
		return tw.Close()
	})
	defer r.Close()
	f := arrival{root: root, incoming: incoming, made: map[string]bool{}}
	if err := f.unpack(tar.NewReader(r)); err != nil {
		return err
	}
	if err := f.place("."); err != nil {
		return err
	}
	return f.settle()
}

// arrival is files on their way into a folder, by way of a folder in it that only we know.
type arrival struct {
	root     *os.Root
	incoming string
	folders  []*tar.Header
	made     map[string]bool // these by name
	moves    []string
}

func (a *arrival) unpack(tr *tar.Reader) error {
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		hdr.Name = path.Clean(hdr.Name)
		if err := a.file(hdr, tr); err != nil {
			return fmt.Errorf("%s: %w", hdr.Name, fault.Cause(err))
		}
	}
}

// file makes one name, in a folder that was made before. A folder gets its mode when all is in it.
func (a *arrival) file(hdr *tar.Header, r io.Reader) error {
	if above := path.Dir(hdr.Name); above != "." && !a.made[above] {
		return fmt.Errorf("%s is no folder", above)
	}
	name := path.Join(a.incoming, hdr.Name)
	switch hdr.Typeflag {
	case tar.TypeDir:
		a.folders, a.made[hdr.Name] = append(a.folders, hdr), true
		return a.root.Mkdir(name, 0o700)
	case tar.TypeSymlink:
		if err := a.root.Symlink(hdr.Linkname, name); err != nil || os.Geteuid() != 0 {
			return err
		}
		return a.root.Lchown(name, hdr.Uid, hdr.Gid)
	case tar.TypeLink:
		return a.root.Link(path.Join(a.incoming, hdr.Linkname), name)
	case tar.TypeReg:
	default:
		return errors.New("a device or pipe is not written to a folder; a tar holds it")
	}
	f, err := a.root.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return a.attributes(name, hdr)
}

// attributes are set in an order that keeps them: a new owner takes setuid away.
func (a *arrival) attributes(name string, hdr *tar.Header) error {
	if os.Geteuid() == 0 {
		if err := a.root.Chown(name, hdr.Uid, hdr.Gid); err != nil {
			return err
		}
	}
	mode := hdr.FileInfo().Mode() & (fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky)
	return errors.Join(a.root.Chmod(name, mode), a.root.Chtimes(name, hdr.ModTime, hdr.ModTime))
}

// place finds what is to be moved out of the incoming folder, and what stands in its way, before anything is moved.
func (a *arrival) place(dir string) error {
	entries, err := fs.ReadDir(a.root.FS(), path.Join(a.incoming, dir))
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := path.Join(dir, e.Name())
		there, err := a.root.Lstat(name)
		switch {
		case err == nil && there.IsDir() && e.IsDir():
			if err := a.place(name); err != nil {
				return err
			}
			continue
		case err == nil && there.IsDir():
			return fmt.Errorf("%s is a folder there, and no folder in the image", name)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		}
		a.moves = append(a.moves, name)
	}
	return nil
}

// settle moves what arrived to its places.
func (a *arrival) settle() error {
	for _, name := range a.moves {
		from := path.Join(a.incoming, name)
		err := a.root.Rename(from, name)
		if errors.Is(err, syscall.ENOTDIR) { // a file or link where a folder goes
			err = errors.Join(a.root.Remove(name), a.root.Rename(from, name))
		}
		if err != nil {
			return fault.Cause(err)
		}
	}
	for _, hdr := range slices.Backward(a.folders) {
		if err := a.attributes(hdr.Name, hdr); err != nil {
			return fault.Cause(err)
		}
	}
	return nil
}
