package rollout

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// reason is what an operation says, with the resource that could not be applied where there is one.
func (a *Application) reason() string {
	for _, r := range a.Status.OperationState.SyncResult.Resources {
		switch {
		case !r.Failed():
		case r.Hook != "":
			return fmt.Sprintf("%s hook %s: %s", r.Hook, r, Clean(r.Message))
		default:
			return fmt.Sprintf("%s: %s", r, Clean(r.Message))
		}
	}
	return Clean(a.Status.OperationState.Message)
}

// remaining says how much of a sync is left: the resources, and the wave that it has come to.
func (a *Application) remaining() string {
	left, wave := 0, 0
	for _, r := range a.Status.Resources {
		if r.Status == "OutOfSync" {
			if left++; left == 1 || r.Wave < wave {
				wave = r.Wave
			}
		}
	}
	switch {
	case left == 0:
		return ""
	case wave != 0:
		return fmt.Sprintf(", %d of %d resources to go, wave %d", left, len(a.Status.Resources), wave)
	}
	return fmt.Sprintf(", %d of %d resources to go", left, len(a.Status.Resources))
}

// unhealthy names the resource that makes the application's health, the first of those that are so.
func (a *Application) unhealthy(status string) string {
	for _, r := range a.Status.Resources {
		if r.Health != nil && r.Health.Status == status {
			text := fmt.Sprintf(": %s is %s", r, strings.ToLower(Clean(status)))
			if r.Health.Message != "" {
				text += ", " + Clean(r.Health.Message)
			}
			return text
		}
	}
	return ""
}

// pruning names the resources that are out of sync for being in no manifest, where they are all that is; else "".
func (a *Application) pruning() string {
	var names []string
	for _, r := range a.Status.Resources {
		if r.Status == "OutOfSync" {
			if !r.Pruning {
				return ""
			}
			names = append(names, r.String())
		}
	}
	return Clean(strings.Join(names, ", "))
}

// hintOf is what to do about what Argo CD says.
func hintOf(message string) string {
	switch {
	case strings.Contains(message, "application repo"):
		return "allow the repository in the AppProject's sourceRepos"
	case strings.Contains(message, "is not permitted in project"):
		return "allow the kind in the AppProject's namespaceResourceWhitelist or clusterResourceWhitelist"
	case strings.Contains(message, "referencing project"):
		return "create the AppProject that the application names, or name another"
	case strings.Contains(message, "app path does not exist"):
		return "the source's path is not in the repository: imgbump graph shows such applications"
	case strings.Contains(message, "to a commit SHA"):
		return "the source's targetRevision is no branch, tag or commit of the repository"
	case strings.Contains(message, "failed to list refs"), strings.Contains(message, "dial tcp"):
		return "Argo CD cannot reach the git repository: argocd repo list shows it"
	case strings.Contains(message, "failed to unmarshal"):
		return "mend the manifest: Argo CD cannot read it"
	}
	return ""
}

// widest is how much of a message is shown, in bytes.
const widest = 300

var (
	logins  = regexp.MustCompile(`(?i)([a-z]://)[^/\s"'<>]*@`)
	queries = regexp.MustCompile(`(?i)([a-z]://[^\s"'<>?]*\?)[^\s"'<>]+`)
)

// Clean is what somebody else said, as fault.Said makes it, without what could be a secret in an address.
func Clean(text string) string {
	text = fault.Said(text, len(text))
	text = queries.ReplaceAllString(logins.ReplaceAllString(text, "$1"), "$1...")
	if len(text) < widest {
		return text
	}
	return fault.Said(text, widest) + "…"
}

func short(revision string) string { return Clean(revision[:min(len(revision), 7)]) }

func times(n int) string {
	if n == 1 {
		return "once"
	}
	return fmt.Sprintf("%d times", n)
}
