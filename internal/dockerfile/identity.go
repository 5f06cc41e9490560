package dockerfile

import (
	"archive/tar"
	"crypto/sha256"
	"fmt"
	"maps"
	"slices"
	"time"
)

// encoding counts changes of what the same plan writes.
const encoding = 1

// identity names all that the plan writes without reading it, so that a layer made of it before is known again: "" when
// nobody knows; settled is false when a file may change without another name.
func (p *plan) identity() (id string, settled bool) {
	sum := sha256.New()
	fmt.Fprintln(sum, "dockerfile", encoding)
	first := map[*file]string{}
	settled = true
	for _, name := range slices.Sorted(maps.Keys(p.changes)) {
		f, hdr, content := p.changes[name], p.header(name, p.changes[name]), ""
		if f.content != nil {
			known, rests := f.content.identity()
			if known == "" {
				return "", false
			}
			content, settled = known, settled && rests
		}
		fmt.Fprintf(sum, "%q %c %q %o %d:%d %d %d %d:%d %q %q %q %t\n", hdr.Name, hdr.Typeflag, hdr.Linkname, hdr.Mode, hdr.Uid, hdr.Gid, hdr.Size,
			hdr.ModTime.Unix(), hdr.Devmajor, hdr.Devminor, hdr.PAXRecords[capability], first[f], content, p.replaced[name])
		if !f.isDir() && first[f] == "" {
			first[f] = name
		}
	}
	return fmt.Sprintf("%x", sum.Sum(nil)), settled
}

// date gives the directories that the plan made the time of the newest file beside them, so that the same files make the
// same layer at any time, and returns it. With SOURCE_DATE_EPOCH they bear that one, and with no such file that of the build:
// then it is zero.
func (p *plan) date() (newest time.Time) {
	made := map[*file]bool{}
	for _, dir := range p.made {
		made[dir] = true
	}
	for _, f := range p.changes {
		if !made[f] && f.Typeflag != tar.TypeSymlink && f.ModTime.After(newest) {
			newest = f.ModTime
		}
	}
	if newest.IsZero() || !p.latest.IsZero() {
		return time.Time{}
	}
	for dir := range made {
		dir.ModTime = newest
	}
	return newest
}
