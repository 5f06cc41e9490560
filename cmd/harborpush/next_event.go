package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/version"
)

var (
	commitName = regexp.MustCompile(`^[0-9a-f]{40}([0-9a-f]{24})?$`)
	mergeRef   = regexp.MustCompile(`^refs/pull/(\d+)/(merge|head)$`)
)

// fromEvent is the version that a GitHub workflow's event decides: that of a pull request, or of the tag that the
// workflow runs for.
func fromEvent(getenv func(string) string, scheme version.Scheme) (n next, found bool, err error) {
	n.commit = getenv("GITHUB_SHA")
	switch event := getenv("GITHUB_EVENT_NAME"); {
	case event == "pull_request" || event == "pull_request_target":
		number, head := pullRequest(getenv)
		if number == 0 || head == "" {
			return n, false, &fault.Error{What: "read the event", Where: event, Err: errors.New("it names no pull request"),
				Hint: "GITHUB_EVENT_PATH must name its file, or GITHUB_REF be refs/pull/NUMBER/merge"}
		}
		n.Next, n.commit = version.PullRequest(number, head), head
		return n, true, nil
	case getenv("GITHUB_REF_TYPE") == "tag":
		n.Next, found = scheme.Of(getenv("GITHUB_REF_NAME"))
	}
	return n, found, nil
}

// pullRequest is the number of the event's pull request and the newest commit of its branch; without the event's file
// it is the merge that the workflow runs for.
func pullRequest(getenv func(string) string) (number int, head string) {
	var event struct {
		Number      int
		PullRequest struct {
			Number int
			Head   struct{ SHA string }
		} `json:"pull_request"`
	}
	if data, err := os.ReadFile(getenv("GITHUB_EVENT_PATH")); err == nil && json.Unmarshal(data, &event) == nil {
		number, head = cmp.Or(event.PullRequest.Number, event.Number), strings.ToLower(event.PullRequest.Head.SHA)
	}
	ref := mergeRef.FindStringSubmatch(getenv("GITHUB_REF"))
	if number <= 0 && ref != nil {
		number, _ = strconv.Atoi(ref[1])
	}
	if !commitName.MatchString(head) && ref != nil {
		head = getenv("GITHUB_SHA")
	}
	if !commitName.MatchString(head) {
		head = ""
	}
	return max(number, 0), head
}
