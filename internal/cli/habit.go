package cli

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// habits are flags of docker, kubectl and argocd that no command here has, and what comes nearest.
var habits = map[string]string{
	"password": "password-stdin", "p": "password-stdin",
	"token": "git-token-file", "git-token": "git-token-file", "auth-token": "git-token-file",
	"o": "format", "output": "format",
	"insecure": "ca-file", "tls-verify": "ca-file", "insecure-skip-tls-verify": "ca-file",
}

// flagHint says which flag of cmd was meant by one that it does not have.
func flagHint(cmd *cobra.Command, err error) string {
	var unknown *pflag.NotExistError
	if !errors.As(err, &unknown) {
		return usageHint(cmd)
	}
	typed, hint := strings.ToLower(unknown.GetSpecifiedName()), usageHint(cmd)
	letters := strings.NewReplacer("-", "", "_", "").Replace
	cmd.Flags().VisitAll(func(f *pflag.Flag) {
		if f.Name == habits[typed] || letters(f.Name) == letters(typed) {
			_, usage := pflag.UnquoteUsage(f)
			hint = fmt.Sprintf("there is --%s: %s", f.Name, usage)
		}
	})
	return hint
}
