package repo

import (
	"os"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/environ"
)

// childEnv is our environment with nobody to ask, and without the variables that are no business of a program.
func childEnv(withheld func(name string) bool) []string {
	env := []string{"GIT_TERMINAL_PROMPT=0", "GCM_INTERACTIVE=never"}
	for _, variable := range os.Environ() {
		if name, _, _ := strings.Cut(variable, "="); !withheld(name) {
			env = append(env, variable)
		}
	}
	return env
}

// isPrivate reports whether a variable is no business of a repository's hooks: what looks like a secret, all that belongs
// to a workflow's action, and what git itself keeps from another repository (git rev-parse --local-env-vars), such as the
// settings of git -c, which may hold a login.
func isPrivate(name string) bool {
	upper := strings.ToUpper(name)
	contains := func(part string) bool { return strings.Contains(upper, part) }
	begins := func(prefix string) bool { return strings.HasPrefix(upper, prefix) }
	return environ.IsOurs(name) || slices.Contains(localToGit, name) ||
		slices.ContainsFunc([]string{"TOKEN", "SECRET", "PASSWORD", "PASSPHRASE", "CREDENTIAL", "_KEY"}, contains) ||
		slices.ContainsFunc([]string{"ACTIONS_", "INPUT_", "GIT_CONFIG_KEY_", "GIT_CONFIG_VALUE_"}, begins)
}

var localToGit = []string{
	"GIT_ALTERNATE_OBJECT_DIRECTORIES", "GIT_COMMON_DIR", "GIT_CONFIG", "GIT_CONFIG_COUNT", "GIT_CONFIG_PARAMETERS", "GIT_DIR",
	"GIT_GRAFT_FILE", "GIT_IMPLICIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_NO_REPLACE_OBJECTS", "GIT_OBJECT_DIRECTORY", "GIT_PREFIX",
	"GIT_REPLACE_REF_BASE", "GIT_SHALLOW_FILE", "GIT_WORK_TREE",
}
