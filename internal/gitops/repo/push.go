package repo

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/go-git/go-git/v5/plumbing"
	"github.com/go-git/go-git/v5/plumbing/format/packfile"
	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/storage/memory"

	"github.com/ksera524/imgbump/internal/fault"
)

// refusal is a server's no to an update that it had understood.
type refusal struct {
	status    string // git's word for it
	said      string // what its hooks printed
	unpacking bool   // it could not even take the commit in
}

func (r *refusal) Error() string {
	if r.said == "" {
		return "refused: " + r.status
	}
	return "refused: " + r.status + "; the server says: " + r.said
}

// moved is the error of a push that was not tried, since the branch is elsewhere by now.
type moved struct{ to plumbing.Hash }

func (m moved) Error() string { return "it is at " + m.to.String() }

// push moves a branch from a draft's parent to its commit. The server compares and swaps: when the branch is elsewhere
// it refuses.
func (s *server) push(ctx context.Context, branch string, d *draft, made *memory.Storage) error {
	session, refs, err := advertised(ctx, s, s.client.NewReceivePackSession)
	if err != nil {
		return err
	}
	defer session.Close()
	if at := refs.References[branch]; !at.IsZero() && at != d.parent && at != d.commit { // a server may hide refs
		return moved{at}
	}
	var pack bytes.Buffer
	var said snippet
	if _, err := packfile.NewEncoder(&pack, made, false).Encode(d.objects, 0); err != nil {
		return fmt.Errorf("pack the commit: %w", err)
	}
	request := packp.NewReferenceUpdateRequestFromCapabilities(refs.Capabilities)
	request.Commands = []*packp.Command{{Name: plumbing.ReferenceName(branch), Old: d.parent, New: d.commit}}
	request.Packfile = io.NopCloser(&pack)
	request.Progress = &said
	for _, c := range []capability.Capability{capability.Atomic, capability.Sideband64k} {
		if refs.Capabilities.Supports(c) {
			if err := request.Capabilities.Set(c); err != nil {
				return err
			}
		}
	}
	if err := s.addPushOptions(request, refs); err != nil {
		return err
	}
	report, err := session.ReceivePack(ctx, request)
	switch {
	case report == nil && err != nil:
		return s.explain(ctx, err)
	case report == nil || len(report.CommandStatuses) == 0 && report.UnpackStatus == "ok":
		return s.explain(ctx, errors.New("the server did not say whether it took the commit"))
	}
	if report.UnpackStatus != "ok" {
		return &refusal{printable("unpack " + report.UnpackStatus), printable(string(said)), true}
	}
	for _, command := range report.CommandStatuses {
		if command.Error() != nil {
			return &refusal{printable(command.Status), printable(string(said)), false}
		}
	}
	return cause(err)
}

// addPushOptions puts the options between the commands and the pack, where they belong (gitprotocol-pack). go-git writes
// KEY=VALUE alone, and nothing of its own when it does not recognize the capability, hence the blank.
func (s *server) addPushOptions(request *packp.ReferenceUpdateRequest, refs *packp.AdvRefs) error {
	if len(s.pushOptions) == 0 {
		return nil
	}
	if !refs.Capabilities.Supports(capability.PushOptions) {
		return &fault.Error{What: "push with options to", Where: s.url, Err: errors.New("the server takes none"),
			Hint: "leave --push-option and git's push.pushOption away, or have receive.advertisePushOptions set on the server"}
	}
	var options bytes.Buffer
	encoder := pktline.NewEncoder(&options)
	if err := errors.Join(encoder.EncodeString(s.pushOptions...), encoder.Flush()); err != nil {
		return err
	}
	request.Packfile = io.NopCloser(io.MultiReader(&options, request.Packfile))
	return request.Capabilities.Add(capability.PushOptions + " ")
}

func checkPushOptions(options []string) error {
	for _, option := range options {
		if option == "" || len(option) > pktline.MaxPayloadSize || strings.ContainsAny(option, "\n\x00") {
			return fault.Usagef("for example: --push-option ci.skip", "a push option is one line of text, not %.40q", option)
		}
	}
	return nil
}

// byHook reports whether a hook, or a rule of the server, is the reason: git's words for it are the same on all servers.
func (r *refusal) byHook() bool { return strings.Contains(r.status, "hook declined") }

// Protected reports whether a push failed because the branch is protected: a commit can reach it by a pull request
// alone. Servers say so in words only: GitHub in codes that it keeps (GH006 for branch protection, GH013 for rulesets),
// GitLab, Gitea and Bitbucket in sentences.
func Protected(err error) bool {
	no, ok := errors.AsType[*refusal](err)
	if !ok || no.unpacking {
		return false
	}
	words := strings.ToLower(no.status + " " + no.said)
	signs := []string{"gh006", "gh013", "protected branch", "can only be modified through pull requests"}
	return slices.ContainsFunc(signs, func(sign string) bool { return strings.Contains(words, sign) })
}
