package github

import "strings"

// Warning is what a person must know who pushes with a token, or "": what a workflow does with its own GITHUB_TOKEN starts
// no workflow (docs.github.com/actions/security-for-github-actions/security-guides/automatic-token-authentication).
func Warning(tokenName, token string) string {
	if tokenName != "GITHUB_TOKEN" || !strings.HasPrefix(token, "ghs_") {
		return ""
	}
	return "what is pushed or proposed with a workflow's own GITHUB_TOKEN starts no workflow, or one that waits for approval: " +
		"where checks or deployments depend on it, use an App's token, a personal access token or a deploy key"
}
