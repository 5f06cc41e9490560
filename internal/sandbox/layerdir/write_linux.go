package layerdir

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// Write puts a layer into a tar by its Entries: the same bytes each time.
func Write(ctx context.Context, dir string, entries []*tar.Header, tw *tar.Writer) error {
	top, err := openTop(dir)
	if err != nil {
		return err
	}
	defer unix.Close(top)
	buf := make([]byte, 256<<10)
	for _, hdr := range entries {
		if err := ctx.Err(); err != nil {
			return context.Cause(ctx)
		}
		if err := tw.WriteHeader(hdr); err != nil {
			return err
		}
		if hdr.Typeflag != tar.TypeReg || hdr.Size == 0 {
			continue
		}
		if err := writeContent(ctx, top, hdr, tw, buf); err != nil {
			return err
		}
	}
	return nil
}

func writeContent(ctx context.Context, top int, hdr *tar.Header, w io.Writer, buf []byte) error {
	f, err := openRegular(top, hdr.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	n, err := io.CopyBuffer(w, struct{ io.Reader }{within{ctx, io.LimitReader(f, hdr.Size)}}, buf)
	if err == nil && n != hdr.Size {
		err = errors.New("it has become shorter")
	}
	if err != nil {
		return fmt.Errorf("reading /%s: %w", hdr.Name, err)
	}
	return nil
}

// File opens a regular file of a layer by its entry's name. No link is followed on the way.
func File(dir, name string) (*os.File, error) {
	top, err := openTop(dir)
	if err != nil {
		return nil, err
	}
	defer unix.Close(top)
	return openRegular(top, name)
}

func openRegular(top int, name string) (*os.File, error) {
	fd, err := openInside(top, name, readFlags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: name, Err: err}
	}
	f := os.NewFile(uintptr(fd), name)
	if st, err := f.Stat(); err != nil || !st.Mode().IsRegular() {
		f.Close()
		return nil, &os.PathError{Op: "open", Path: name, Err: errors.Join(err, errors.New("it is no regular file"))}
	}
	return f, nil
}
