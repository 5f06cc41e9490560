// Package provenance tells where an image comes from, out of the environment of a GitHub workflow: as the labels and
// annotations that OCI defines, and as labels in Harbor. It does no I/O.
package provenance

import (
	"cmp"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Source is the commit and the workflow run that an image is made in.
type Source struct {
	Repository string // its address: "https://github.com/OWNER/NAME"
	Commit     string
	Run        string // its number
	Actor      string // who started it
}

// FromWorkflow is the source that a runner's environment names; event is what the file at GITHUB_EVENT_PATH holds, or nil.
// It is false outside of a workflow. For a pull request the commit is that of its branch: GITHUB_SHA is a merge that
// exists only for the run.
func FromWorkflow(getenv func(string) string, event []byte) (Source, bool) {
	if getenv("GITHUB_REPOSITORY") == "" || getenv("GITHUB_SHA") == "" {
		return Source{}, false
	}
	var e struct {
		PullRequest struct{ Head struct{ SHA string } } `json:"pull_request"`
	}
	if strings.HasPrefix(getenv("GITHUB_EVENT_NAME"), "pull_request") {
		if err := json.Unmarshal(event, &e); err != nil {
			e.PullRequest.Head.SHA = ""
		}
	}
	return Source{
		Repository: cmp.Or(getenv("GITHUB_SERVER_URL"), "https://github.com") + "/" + getenv("GITHUB_REPOSITORY"),
		Commit:     cmp.Or(e.PullRequest.Head.SHA, getenv("GITHUB_SHA")),
		Run:        getenv("GITHUB_RUN_ID"),
		Actor:      getenv("GITHUB_ACTOR"),
	}, true
}

// Annotations are for an image of this version, made then: org.opencontainers.image.source, revision, version and created
// (OCI image specification, annotations). Builders write them as labels too.
func (s Source) Annotations(version string, created time.Time) map[string]string {
	all := map[string]string{
		"org.opencontainers.image.source":   s.Repository,
		"org.opencontainers.image.revision": s.Commit,
	}
	if version != "" {
		all["org.opencontainers.image.version"] = version
	}
	if !created.IsZero() {
		all["org.opencontainers.image.created"] = created.UTC().Format(time.RFC3339)
	}
	return all
}

// shortCommit is how much of a commit a label shows.
const shortCommit = 12

// Labels are names of labels for Harbor: "commit-e35b546904df", "run-42", "actor-octocat".
func (s Source) Labels() []string {
	all := []string{"commit-" + s.Commit[:min(len(s.Commit), shortCommit)]}
	if s.Run != "" {
		all = append(all, "run-"+s.Run)
	}
	if s.Actor != "" {
		all = append(all, "actor-"+s.Actor)
	}
	return all
}

// Description is a repository's, for Harbor's web page, which shows it as Markdown.
func (s Source) Description() string {
	return fmt.Sprintf("Built from [%s](%s).", strings.TrimPrefix(s.Repository, "https://"), s.Repository)
}
