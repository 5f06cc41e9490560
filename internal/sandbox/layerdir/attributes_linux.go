package layerdir

import (
	"archive/tar"
	"errors"
	"fmt"
	"math"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// The extended attributes that count. Layers carry no other than capability, as BuildKit exports them.
const (
	capability    = "security.capability"
	paxCapability = "SCHILY.xattr." + capability
	opaqueMark    = "user.overlay.opaque"
	redirectMark  = "user.overlay.redirect"
)

// nobody is the user or group that chown takes for none.
const nobody = math.MaxUint32

// attributes are what a file has besides its name and content.
type attributes struct {
	mode       uint32 // with the type, as stat has it
	uid, gid   int
	rdev       uint64
	modified   unix.Timespec
	capability string
}

// types are the file types of tar entries.
var types = map[byte]uint32{
	tar.TypeReg: unix.S_IFREG, tar.TypeCont: unix.S_IFREG, tar.TypeGNUSparse: unix.S_IFREG, tar.TypeDir: unix.S_IFDIR,
	tar.TypeSymlink: unix.S_IFLNK, tar.TypeChar: unix.S_IFCHR, tar.TypeBlock: unix.S_IFBLK, tar.TypeFifo: unix.S_IFIFO,
}

// described are the attributes that a tar entry has.
func described(hdr *tar.Header) (attributes, error) {
	kind, ok := types[hdr.Typeflag]
	if !ok {
		return attributes{}, fmt.Errorf("%s has the unknown type %q", hdr.Name, hdr.Typeflag)
	}
	if max(hdr.Uid, hdr.Gid) >= nobody || min(hdr.Uid, hdr.Gid) < 0 {
		return attributes{}, fmt.Errorf("%s belongs to %d:%d, whom Linux cannot have", hdr.Name, hdr.Uid, hdr.Gid)
	}
	return attributes{
		mode: kind | uint32(hdr.Mode&0o7777), uid: hdr.Uid, gid: hdr.Gid, modified: timespec(hdr.ModTime),
		rdev: unix.Mkdev(uint32(hdr.Devmajor), uint32(hdr.Devminor)), capability: hdr.PAXRecords[paxCapability],
	}, nil
}

// timespec is a time, or the beginning of Unix time when Linux cannot have it.
func timespec(t time.Time) unix.Timespec {
	ts, err := unix.TimeToTimespec(t)
	if err != nil || t.Unix() < 0 {
		return unix.Timespec{}
	}
	return ts
}

// seen are the attributes of a file in a directory, without its capability.
func seen(st *unix.Stat_t) attributes {
	return attributes{mode: st.Mode, uid: int(st.Uid), gid: int(st.Gid), rdev: st.Rdev, modified: st.Mtim}
}

func kind(st *unix.Stat_t) uint32 { return st.Mode & unix.S_IFMT }

func isDir(st *unix.Stat_t) bool { return kind(st) == unix.S_IFDIR }

// isWhiteout reports whether something is the mark that hides what is below, which is no device that anything drives.
func isWhiteout(st *unix.Stat_t) bool { return kind(st) == unix.S_IFCHR && unix.Major(st.Rdev) == 0 }

// untold reports whether no tar can hold something under a name: it is as if it were not there.
func untold(name string, st *unix.Stat_t) bool {
	return isWhiteout(st) || kind(st) == unix.S_IFSOCK || strings.HasPrefix(name, whiteout)
}

// lstat is what a name in a directory is, and nil when it is not there.
func lstat(dir int, name string) (*unix.Stat_t, error) {
	var st unix.Stat_t
	err := unix.Fstatat(dir, name, &st, unix.AT_SYMLINK_NOFOLLOW)
	if errors.Is(err, unix.ENOENT) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("looking at %s: %w", name, err)
	}
	return &st, nil
}

// there is lstat of a name that was listed.
func there(dir int, name, full string) (*unix.Stat_t, error) {
	st, err := lstat(dir, name)
	if err == nil && st == nil {
		err = fmt.Errorf("/%s is gone while it is being read", full)
	}
	return st, err
}

// attribute is an extended attribute of an open file, "" when it has none.
func attribute(fd int, name string) (string, error) {
	var buf [256]byte // of those asked for none is longer than a capability's 24
	n, err := unix.Fgetxattr(fd, name, buf[:])
	if errors.Is(err, unix.ENODATA) || errors.Is(err, unix.ENOTSUP) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading the attribute %s: %w", name, err)
	}
	return string(buf[:n]), nil
}

// isOpaque reports whether an open directory hides what is below it.
func isOpaque(dir int) (bool, error) {
	value, err := attribute(dir, opaqueMark)
	return value == "y", err
}
