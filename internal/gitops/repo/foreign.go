package repo

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// effectiveUser is who we are. A test becomes somebody else.
var effectiveUser = os.Geteuid

// foreign reports whether the checkout is another user's, and whose, and git would not work in it for that (git-config,
// "safe.directory", which counts in protected configuration alone).
func (r *Repo) foreign(protected settings) (owner int, foreign bool) {
	if r.root == "" || r.isSafe(protected.values("safe", "", "directory")) {
		return 0, false
	}
	for _, place := range []string{r.root, filepath.Join(r.root, ".git"), r.gitDir, r.common} {
		info, err := os.Lstat(place)
		if err != nil {
			continue
		}
		const user = 7
		owner = int(statFields(info)[user])
		sudoer, err := strconv.Atoi(r.options.Getenv("SUDO_UID"))
		if owner != effectiveUser() && (effectiveUser() != 0 || err != nil || owner != sudoer) {
			return owner, true
		}
	}
	return 0, false
}

// isSafe reports whether one of the values of safe.directory is for this checkout.
func (r *Repo) isSafe(values []string) bool {
	return slices.ContainsFunc(withoutCleared(values), func(value string) bool {
		if value == "*" {
			return true
		}
		folder, under := strings.CutSuffix(value, "/*")
		if folder = r.path(folder); folder == "" {
			return false
		}
		if real, err := filepath.EvalSymlinks(folder); err == nil {
			folder = real
		}
		return r.root == filepath.Clean(folder) || under && strings.HasPrefix(r.root, filepath.Clean(folder)+"/")
	})
}

// harmless leaves out of a foreign checkout's own configuration what would run a program, or lead a login or the
// connection elsewhere.
func (r *Repo) harmless(own settings, owner int) settings {
	followed := slices.DeleteFunc(slices.Clone(own), func(line setting) bool {
		switch line.section {
		case "credential", "url":
			return true
		case "http":
			return line.key != "extraheader"
		case "core":
			return line.key == "sshcommand"
		case "remote":
			return line.key == "proxy"
		}
		return false
	})
	if len(followed) < len(own) {
		r.options.Warn(fmt.Sprintf("%s belongs to the user with the ID %d, so that its credential helpers, core.sshCommand, url.* and http.* are not followed; "+
			"`git config --global --add safe.directory %[1]s` says that you trust it", r.root, owner))
	}
	return followed
}
