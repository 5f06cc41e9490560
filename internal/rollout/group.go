package rollout

import "fmt"

// Together is the verdict on an app of apps: it is live when it is itself and all of its children are, for a root can be
// healthy before Argo CD has looked at its children anew. The children come in the order in which they are to be told of.
func Together(root Verdict, names []string, children map[string]Verdict) Verdict {
	if root.State == Ended || root.Behind {
		return root // the children may be about to become others
	}
	for _, name := range names {
		if child := children[name]; child.State == Ended {
			return Verdict{State: Ended, Text: fmt.Sprintf("%s: %s", name, child.Text), Hint: child.Hint}
		}
	}
	if root.State == Waiting {
		return root
	}
	for _, name := range names {
		if child := children[name]; child.State == Waiting {
			return Verdict{Text: fmt.Sprintf("waiting for %s: %s", name, child.Text)}
		}
	}
	return root
}
