package github

import (
	"bytes"
	"context"
	"encoding/base64"
	"strings"
	"unicode/utf8"

	"github.com/google/go-github/v60/github"
)

const maxInline = 256 << 10 // bytes of a file that travels inside its tree

// trees makes what the commits contain: the tree of Parent, then one for each commit.
func (c *Client) trees(ctx context.Context, s Series) ([]string, error) {
	parent, _, err := c.api.Git.GetCommit(ctx, s.Owner, s.Repository, s.Parent)
	if err != nil {
		return nil, err
	}
	trees := []string{parent.GetTree().GetSHA()}
	for i, commit := range s.Commits {
		var entries []*github.TreeEntry
		for _, file := range commit.Files {
			entry, err := c.entry(ctx, s, file)
			if err != nil {
				return nil, err
			}
			entries = append(entries, entry)
		}
		tree, _, err := c.api.Git.CreateTree(repeatable(ctx), s.Owner, s.Repository, trees[i], entries)
		if err != nil {
			return nil, err
		}
		trees = append(trees, tree.GetSHA())
	}
	return trees, nil
}

// entry is a file in a tree: with its content where JSON can carry it, else with a blob made for it.
func (c *Client) entry(ctx context.Context, s Series, file File) (*github.TreeEntry, error) {
	mode := "100644"
	if file.Executable {
		mode = "100755"
	}
	entry := &github.TreeEntry{Path: &file.Path, Mode: &mode, Type: github.String("blob")}
	if utf8.Valid(file.Content) && bytes.IndexByte(file.Content, 0) < 0 && len(file.Content) <= maxInline {
		entry.Content = github.String(string(file.Content))
		return entry, nil
	}
	blob := &github.Blob{Content: github.String(base64.StdEncoding.EncodeToString(file.Content)), Encoding: github.String("base64")}
	made, _, err := c.api.Git.CreateBlob(repeatable(ctx), s.Owner, s.Repository, blob)
	if err != nil {
		return nil, err
	}
	entry.SHA = made.SHA
	return entry, nil
}

// commits makes the commits of the trees. With neither an author nor a committer GitHub signs them, so that they are
// Verified (docs.github.com/rest/git/commits#create-a-commit, Songmu/tagpr#199). One that changes nothing is its parent.
func (c *Client) commits(ctx context.Context, s Series, trees []string) ([]string, error) {
	var made []string
	parent := s.Parent
	for i, commit := range s.Commits {
		if trees[i+1] != trees[i] {
			wanted := &github.Commit{Message: &commit.Message, Tree: &github.Tree{SHA: &trees[i+1]}, Parents: []*github.Commit{{SHA: &parent}}}
			got, _, err := c.api.Git.CreateCommit(repeatable(ctx), s.Owner, s.Repository, wanted, nil)
			if err != nil {
				return nil, err
			}
			parent = got.GetSHA()
		}
		made = append(made, parent)
	}
	return made, nil
}

// alike are the commits that end at tip when they say and contain what ours do upon Parent; else it is nil. The trees are
// made only when the messages are the same.
func (c *Client) alike(ctx context.Context, s Series, tip string, trees func() ([]string, error)) ([]string, error) {
	theirs, contents := make([]string, len(s.Commits)), make([]string, len(s.Commits))
	for i := len(s.Commits) - 1; i >= 0; i-- {
		commit, _, err := c.api.Git.GetCommit(ctx, s.Owner, s.Repository, tip)
		if err != nil || len(commit.Parents) != 1 || strings.TrimSpace(commit.GetMessage()) != strings.TrimSpace(s.Commits[i].Message) {
			return nil, err
		}
		theirs[i], contents[i], tip = tip, commit.GetTree().GetSHA(), commit.Parents[0].GetSHA()
	}
	if tip != s.Parent {
		return nil, nil
	}
	ours, err := trees()
	for i := range contents {
		if err != nil || contents[i] != ours[i+1] {
			return nil, err
		}
	}
	return theirs, nil
}
