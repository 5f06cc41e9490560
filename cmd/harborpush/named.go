package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/config"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/folder"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/retention"
)

// named collects what manifests name of one Harbor project. Whatever may name an image there counts: the host does not
// matter, since a cluster may reach Harbor by another name; and where a file has the text PROJECT/NAME:TAG or a digest,
// that counts though no place is known there. What cannot be read might name anything, so it is an error.
type named struct {
	project string
	where   string // as errors say it
	rules   manifest.Rules
	charts  manifest.Charts

	references []retention.Reference
	met        map[string]bool
	files      int // that may be manifests
	unread     []error
}

func newNamed(project string) *named {
	return &named{project: project, charts: manifest.Charts{}, met: map[string]bool{}}
}

// add notes a reference once, where it was met first.
func (n *named) add(ref retention.Reference) {
	if key := ref.Repository + "\n" + ref.Tag + "\n" + ref.Digest; !n.met[key] {
		n.met[key] = true
		n.references = append(n.references, ref)
	}
}

// err is the error of what could not be read, or nil.
func (n *named) err() error {
	const hint = "make the manifests readable, or leave --keep-referenced away; nothing was removed"
	switch {
	case len(n.unread) > 0:
		return &fault.Error{What: "read the manifests of", Where: n.where, Hint: hint, Err: errors.Join(n.unread[:min(len(n.unread), maxNamed)]...)}
	case n.files == 0:
		return &fault.Error{What: "read the manifests of", Where: n.where, Hint: hint, Err: errors.New("there are none")}
	}
	return nil
}

// folder reads the manifests below dir as they are now, and those of its last commits when it is in a git checkout.
func (n *named) folder(ctx context.Context, c *cli.Console, dir string, commits int) error {
	n.where = dir
	tree, err := folder.Open(dir)
	if err != nil {
		return &fault.Error{What: "read the manifests of", Where: dir, Err: errors.Unwrap(err),
			Hint: "--keep-referenced names a folder with manifests, or the URL of a git repository; nothing was removed"}
	}
	defer tree.Close()
	if err := n.configure(os.ReadFile(filepath.Join(dir, config.Name))); err != nil {
		return err
	}
	for f, err := range tree.Files(ctx, nil) {
		if err != nil {
			return err
		}
		if info, err := os.Lstat(filepath.Join(dir, f.Path)); f.Skip != "" && err == nil && info.Mode()&fs.ModeSymlink != 0 {
			continue // what it leads to is met where it is
		}
		n.file(f, "")
	}
	if !inGit(dir) {
		c.Progressf("%s is in no git checkout: its files count as they are, without a history", dir)
		return nil
	}
	r, err := repo.Open(dir, reading(c))
	if err != nil {
		return err
	}
	defer r.Close()
	prefix, err := r.Prefix(dir)
	if err != nil {
		return err
	}
	for f, err := range r.Local().Recent(ctx, commits, under(prefix)) {
		if err != nil {
			return err
		}
		n.version(f, prefix)
	}
	return nil
}

// remote reads the manifests of the last commits of a branch of the repository at address: URL, or URL#BRANCH.
func (n *named) remote(ctx context.Context, c *cli.Console, address string, commits int) error {
	address, branch, _ := strings.Cut(address, "#")
	options := reading(c)
	options.Credential = func(to *url.URL) (repo.Credential, error) { return gitLogin(c.Getenv, to), nil }
	r, err := repo.NoCheckout(options)
	if err != nil {
		return err
	}
	defer r.Close()
	remote, err := r.Remote(address, branch)
	if err != nil {
		return err
	}
	n.where = remote.URL()
	var files []repo.Version
	for f, err := range remote.Recent(ctx, commits, nil) {
		if err != nil {
			return err
		}
		files = append(files, f)
	}
	if i := slices.IndexFunc(files, func(f repo.Version) bool { return f.Path == config.Name }); i >= 0 {
		if err := n.configure(files[i].Read(nil)); err != nil {
			return err
		}
	}
	for _, f := range files {
		n.version(f, "")
	}
	return nil
}

func reading(c *cli.Console) repo.Options {
	return repo.Options{Getenv: c.Getenv, Warn: func(s string) { c.Warnf("", 0, "%s", s) }, Mask: c.Workflow.Mask}
}

// gitLogin is GITHUB_TOKEN for the GitHub server that the workflow runs for. Others are logged in to as git would.
func gitLogin(getenv func(string) string, to *url.URL) repo.Credential {
	server, err := url.Parse(cmp.Or(getenv("GITHUB_SERVER_URL"), "https://github.com"))
	if err != nil || to.Scheme != "https" || server.Scheme != to.Scheme || !strings.EqualFold(server.Host, to.Host) {
		return repo.Credential{}
	}
	return repo.Credential{Username: "x-access-token", Secret: getenv("GITHUB_TOKEN"), Name: "GITHUB_TOKEN"}
}

// configure takes the further places for images that imgbump.yaml names.
func (n *named) configure(data []byte, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return &fault.Error{What: "read", Where: config.Name, Err: fault.Cause(err)}
	}
	c, problems, _ := config.Parse(data)
	n.rules = manifest.Rules{Fields: c.Rules.Fields, Include: true}
	return config.Err(problems)
}

// version reads a file of a commit. A symbolic link's content is the name of another file, and names no image.
func (n *named) version(f repo.Version, prefix string) {
	f.Path = strings.TrimPrefix(strings.TrimPrefix(f.Path, prefix), "/")
	f.Skip = ""
	n.file(f.File, " ("+f.Commit[:7]+")")
}

// file reads a file. At is where it is from, beside its path.
func (n *named) file(f manifest.File, at string) {
	n.charts.Add(f.Path)
	template := n.charts.Template(f.Path)
	if !manifest.IsManifest(f.Path, n.rules) && !template && !strings.HasSuffix(f.Path, "/") {
		return
	}
	n.files++
	var data []byte
	err := errors.New(f.Skip)
	if f.Skip == "" {
		data, err = f.Read(nil)
	}
	if err != nil {
		n.unread = append(n.unread, fmt.Errorf("%s%s: %w", f.Path, at, fault.Cause(err)))
		return
	}
	n.text(f.Path, data, at)
	if template || !n.mayName(data) {
		return
	}
	sites, err := manifest.Find(f.Path, data, n.rules)
	if err != nil {
		where := f.Path
		if syntax, ok := errors.AsType[*manifest.SyntaxError](err); ok && syntax.Line > 0 {
			where = fmt.Sprintf("%s:%d", f.Path, syntax.Line)
		}
		n.unread = append(n.unread, fmt.Errorf("%s%s: %w", where, at, err))
	}
	for _, s := range sites {
		n.site(s, at)
	}
}

// mayName reports whether a file can name an image of the project: it has the project's name, or imgbump.yaml says which
// image it has a version of.
func (n *named) mayName(data []byte) bool {
	return bytes.Contains(data, []byte(n.project)) || slices.ContainsFunc(n.rules.Fields, func(r manifest.FieldRule) bool { return strings.Contains(r.Image, n.project+"/") })
}

func (n *named) site(s manifest.Site, at string) {
	_, repository, _ := strings.Cut(s.Ref.Canonical(), "/")
	if !strings.HasPrefix(repository, n.project+"/") {
		return
	}
	ref := retention.Reference{Repository: repository, Tag: s.Ref.Tag, Digest: s.Ref.Digest, Where: fmt.Sprintf("%s:%d%s", s.File, s.Line, at)}
	if !s.Ref.Versioned() {
		ref.Tag = "latest"
	}
	n.add(ref)
}

var (
	digestText = regexp.MustCompile(`sha256:[0-9a-f]{64}`)
	comment    = regexp.MustCompile(`(^|\s)#.*`)
	nameText   = regexp.MustCompile(`^[a-z0-9][a-z0-9._/-]*`)
	tagText    = regexp.MustCompile(`^:([A-Za-z0-9_][A-Za-z0-9_.-]{0,127})`)
)

// text finds digests and PROJECT/NAME:TAG outside of comments.
func (n *named) text(p string, data []byte, at string) {
	if !bytes.Contains(data, []byte("sha256:")) && !bytes.Contains(data, []byte(n.project+"/")) {
		return
	}
	line := 0
	for text := range bytes.Lines(data) {
		line++
		text = comment.ReplaceAll(text, nil)
		where := fmt.Sprintf("%s:%d%s", p, line, at)
		for _, digest := range digestText.FindAll(text, -1) {
			n.add(retention.Reference{Digest: string(digest), Where: where})
		}
		for rest := text; ; {
			i := bytes.Index(rest, []byte(n.project+"/"))
			if i < 0 {
				break
			}
			begins := i == 0 || !wordByte(rest[i-1])
			rest = rest[i+len(n.project)+1:]
			name := nameText.Find(rest)
			if tag := tagText.FindSubmatch(rest[len(name):]); begins && tag != nil && len(name) > 0 {
				n.add(retention.Reference{Repository: n.project + "/" + string(name), Tag: string(tag[1]), Where: where})
			}
		}
	}
}

// wordByte reports whether b may be part of a component of a name.
func wordByte(b byte) bool {
	return b == '-' || b == '_' || b == '.' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}

// inGit reports whether a folder lies in a git checkout.
func inGit(dir string) bool {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return false
	}
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	for ; ; dir = filepath.Dir(dir) {
		if _, err := os.Lstat(filepath.Join(dir, ".git")); err == nil {
			return true
		}
		if dir == filepath.Dir(dir) {
			return false
		}
	}
}

func under(prefix string) []string {
	if prefix == "" {
		return nil
	}
	return []string{prefix}
}
