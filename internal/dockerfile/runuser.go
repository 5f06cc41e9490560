package dockerfile

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// processUser is whom a USER makes the processes of RUN. As with runc a user without a group is also in those groups
// that name it, and a number need not be in /etc/passwd.
func processUser(t *tree, user string) (u step.User, err error) {
	name, group, _ := strings.Cut(user, ":")
	if u.UID, u.GID, err = numbers(name, group); err == nil {
		u.Groups = []uint32{u.GID}
		return u, nil
	}
	login, err := logIn(t, &u, name)
	if err == nil {
		err = join(t, &u, login, group)
	}
	if !slices.Contains(u.Groups, u.GID) {
		u.Groups = append([]uint32{u.GID}, u.Groups...)
	}
	return u, err
}

// numbers are a user and a group that are both told by number, root being one.
func numbers(user, group string) (uid, gid uint32, err error) {
	if uid, err = accountID(user); err == nil {
		gid, err = accountID(group)
	}
	return uid, gid, err
}

func accountID(s string) (uint32, error) {
	if s == "root" {
		return 0, nil
	}
	id, err := strconv.ParseUint(s, 10, 32)
	return uint32(id), err
}

// logIn finds the user in /etc/passwd, and returns the name there, none for a number that is not.
func logIn(t *tree, u *step.User, name string) (login string, err error) {
	number, notNumber := strconv.ParseUint(name, 10, 32)
	if name == "" {
		number, notNumber = 0, nil
	}
	lines, err := accounts(t, passwdFile)
	if err != nil {
		return "", err
	}
	for _, line := range lines {
		uid, _ := strconv.ParseUint(line[2], 10, 32)
		if notNumber == nil && uid == number || notNumber != nil && line[0] == name {
			gid, _ := strconv.ParseUint(line[3], 10, 32)
			u.UID, u.GID = uint32(uid), uint32(gid)
			return line[0], nil
		}
	}
	if notNumber != nil {
		return "", unknownAccount("USER", name, passwdFile)
	}
	u.UID = uint32(number)
	return "", nil
}

// join gives the user the group that was asked for, or else those that name the user.
func join(t *tree, u *step.User, login, group string) error {
	lines, err := accounts(t, groupFile)
	if err != nil {
		return err
	}
	number, notNumber := strconv.ParseUint(group, 10, 32)
	for _, line := range lines {
		gid, _ := strconv.ParseUint(line[2], 10, 32)
		switch {
		case group == "" && login != "" && slices.Contains(strings.Split(line[3], ","), login):
			u.Groups = append(u.Groups, uint32(gid))
		case group != "" && (notNumber == nil && gid == number || notNumber != nil && line[0] == group):
			u.GID = uint32(gid)
			return nil
		}
	}
	switch {
	case group == "":
	case notNumber != nil:
		return unknownAccount("the group", group, groupFile)
	default:
		u.GID = uint32(number)
	}
	return nil
}

func unknownAccount(what, name, file string) error {
	return &fault.Error{Hint: "create it in a RUN before, or write numbers, as in 1000:1000",
		Err: fmt.Errorf("%s %s is not in %s of the image", what, name, file)}
}

// accounts are the lines of /etc/passwd or /etc/group by their fields, at least six, of which some may be empty.
func accounts(t *tree, file string) (lines [][]string, err error) {
	data, err := read(t, file, maxAccounts)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, append(strings.Split(line, ":"), make([]string, 6)...))
		}
	}
	return lines, nil
}

// homeOf is what runc makes HOME of who has none.
func homeOf(t *tree, uid uint32) (string, error) {
	lines, err := accounts(t, passwdFile)
	for _, line := range lines {
		if of, err := strconv.ParseUint(line[2], 10, 32); err == nil && uint32(of) == uid {
			return line[5], nil
		}
	}
	return "/", err
}
