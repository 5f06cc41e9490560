package dockerfile

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/ksera524/imgbump/internal/image"
)

// write puts the changes into a layer: directories and what the context or the Dockerfile holds by name, then
// what comes out of archives in their order, so that each is read once, then hard links.
func (p *plan) write(ctx context.Context, tw *tar.Writer) error {
	first := map[*file]string{}
	wanted := map[*archive]map[int][]string{}
	var archives []*archive
	var links []string
	inArchive := p.inArchives()
	for _, name := range slices.Sorted(maps.Keys(p.changes)) {
		f := p.changes[name]
		if _, linked := first[f]; linked && !f.isDir() {
			links = append(links, name)
			continue
		}
		first[f] = name
		m, archived := inArchive(f.content)
		if !archived {
			if err := p.writeFile(ctx, tw, name, f); err != nil {
				return err
			}
			continue
		}
		if wanted[m.archive] == nil {
			wanted[m.archive] = map[int][]string{}
			archives = append(archives, m.archive)
		}
		wanted[m.archive][m.number] = append(wanted[m.archive][m.number], name)
	}
	for _, a := range archives {
		if err := p.writeMembers(ctx, tw, a, wanted[a]); err != nil {
			return err
		}
	}
	for _, name := range links {
		hdr := p.header(name, p.changes[name])
		hdr.Typeflag, hdr.Linkname, hdr.Size = tar.TypeLink, first[p.changes[name]][1:], 0
		if err := tw.WriteHeader(hdr); err != nil {
			return err
		}
	}
	return nil
}

// writeMembers writes files out of one archive; one that is wanted under several names takes several readings.
func (p *plan) writeMembers(ctx context.Context, tw *tar.Writer, a *archive, wanted map[int][]string) error {
	for len(wanted) > 0 {
		found := false
		err := a.each(ctx, func(number int, _ *tar.Header, r io.Reader) error {
			names := wanted[number]
			if len(names) == 0 {
				return nil
			}
			found = true
			if wanted[number] = names[1:]; len(names) == 1 {
				delete(wanted, number)
			}
			return copyInto(tw, p.header(names[0], p.changes[names[0]]), r)
		})
		if err != nil {
			return err
		}
		if !found {
			return fmt.Errorf("an archive lost entries: %w", image.ErrChanged)
		}
	}
	return nil
}

// writeFile writes what is there by name. A directory that came in the place of something that came in the place of a
// directory shows nothing of that first one.
func (p *plan) writeFile(ctx context.Context, tw *tar.Writer, name string, f *file) error {
	hdr := p.header(name, f)
	if f.content == nil {
		err := tw.WriteHeader(hdr)
		if err == nil && f.isDir() && p.replaced[name] {
			err = tw.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: hdr.Name + opaque, ModTime: hdr.ModTime, Format: tar.FormatPAX})
		}
		return err
	}
	r, err := f.content.open()
	if err != nil {
		return err
	}
	defer r.Close()
	return copyInto(tw, hdr, image.Within(ctx, r))
}

// copyInto writes a regular file, and insists on the size that the plan saw.
func copyInto(tw *tar.Writer, hdr *tar.Header, r io.Reader) error {
	if err := tw.WriteHeader(hdr); err != nil {
		return err
	}
	n, err := io.Copy(tw, io.LimitReader(r, hdr.Size))
	if err != nil {
		return fmt.Errorf("/%s: %w", hdr.Name, err)
	}
	if extra, _ := io.CopyN(io.Discard, r, 1); n != hdr.Size || extra > 0 {
		return fmt.Errorf("/%s does not have its %d bytes any more: %w", hdr.Name, hdr.Size, image.ErrChanged)
	}
	return nil
}

// header is f's under a name. As in BuildKit's layers times are whole seconds.
func (p *plan) header(name string, f *file) *tar.Header {
	hdr := f.Header
	hdr.Name, hdr.Format = name[1:], tar.FormatPAX
	if f.isDir() {
		hdr.Name += "/"
	}
	if !p.latest.IsZero() && hdr.ModTime.After(p.latest) {
		hdr.ModTime = p.latest
	}
	hdr.ModTime = hdr.ModTime.Truncate(time.Second)
	return &hdr
}
