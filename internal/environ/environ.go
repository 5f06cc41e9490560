// Package environ says which environment variables are for us alone, so that no program that we run inherits them.
package environ

import "strings"

// IsOurs reports whether a variable is for us alone: logins for Harbor and for git.
func IsOurs(name string) bool {
	return strings.HasPrefix(name, "IMGBUMP_") || strings.HasPrefix(name, "HARBOR_")
}
