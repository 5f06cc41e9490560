package dockerfile

import (
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// Where Linux keeps users and groups.
const (
	passwdFile = "/etc/passwd"
	groupFile  = "/etc/group"
)

// maxAccounts bounds /etc/passwd and /etc/group, in bytes, as BuildKit does.
const maxAccounts = 10 << 20

// owner is who a file belongs to.
type owner struct{ uid, gid int }

// parseOwner reads USER[:GROUP], names or numbers. As in BuildKit a user without a group brings the group of
// /etc/passwd, a number the group of that number, and no user at all is root. BuildKit takes a name that the image does
// not know for root, too; unknown names it.
func parseOwner(s string, t *tree) (o *owner, unknown string, err error) {
	user, group, _ := strings.Cut(s, ":")
	o = &owner{}
	if named(s) && t.entries == 0 {
		return nil, "", &fault.Error{Hint: "write numbers, as in 1000:1000", Err: errors.New("FROM scratch has neither users nor groups")}
	}
	if id, ok := number(user); ok {
		o.uid, o.gid = id, id
	} else if user != "" {
		fields, err := account(t, passwdFile, user, 4)
		if err != nil {
			return nil, "", err
		}
		if fields == nil {
			unknown = user
		} else {
			o.uid, o.gid = fields[0], fields[1]
		}
	}
	if id, ok := number(group); ok {
		o.gid = id
	} else if group != "" {
		fields, err := account(t, groupFile, group, 3)
		if err != nil {
			return nil, "", err
		}
		if fields == nil {
			unknown, fields = group, []int{0}
		}
		o.gid = fields[0]
	}
	return o, unknown, nil
}

// owner is parseOwner with a word on names that are unknown.
func (b *builder) owner(s string, t *tree, line int) (*owner, error) {
	o, unknown, err := parseOwner(s, t)
	if unknown != "" {
		b.doubt(line, "neither /etc/passwd nor /etc/group of the image names %s: root is taken", unknown)
	}
	return o, err
}

// named reports whether an owner needs /etc/passwd or /etc/group.
func named(s string) bool {
	for part := range strings.SplitSeq(s, ":") {
		if _, ok := number(part); !ok && part != "" {
			return true
		}
	}
	return false
}

func number(s string) (int, bool) {
	if s == "root" {
		return 0, true
	}
	id, err := strconv.ParseUint(s, 10, 31)
	return int(id), err == nil
}

// account is the numbers from the third field on of a name's line in passwd or group, up to field last, nil without one.
func account(t *tree, file, name string, last int) ([]int, error) {
	data, err := read(t, file, maxAccounts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		fields := strings.Split(strings.TrimSpace(line), ":")
		if fields[0] != name || len(fields) < last {
			continue
		}
		var ids []int
		for _, field := range fields[2:last] {
			id, ok := number(field)
			if !ok {
				return nil, fmt.Errorf("%s of the image gives %s the number %q", file, name, field)
			}
			ids = append(ids, id)
		}
		return ids, nil
	}
	return nil, nil
}
