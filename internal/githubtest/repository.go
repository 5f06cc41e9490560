package githubtest

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/gittest"
)

// Repository is one that the server serves. Set its fields before the first request.
type Repository struct {
	Owner, Name   string
	Dir           string   // the bare git repository
	Collaborators []string // who may review and be assigned
	Teams         []string // of Owner, which may review
	Protected     []string // branches that take pull requests alone
	AutoMerge     bool     // it is allowed
	Methods       []string // of merging that are allowed: MERGE, SQUASH, REBASE
	Blocked       bool     // something holds pull requests back: a check, a review
	Unfiltered    bool     // lists all pull requests whatever is asked, as servers that only resemble GitHub do
	Unqueried     bool     // there is no createCommitOnBranch, as on an older GitHub Enterprise Server

	server *Server
	id     int
	pulls  []*Pull
}

// Add makes the server serve a bare git repository as owner/name. One with the same name of another owner is its fork.
func (s *Server) Add(name, dir string) *Repository {
	s.mu.Lock()
	defer s.mu.Unlock()
	owner, short, _ := strings.Cut(name, "/")
	repo := &Repository{Owner: owner, Name: short, Dir: dir, Methods: []string{"MERGE", "SQUASH", "REBASE"}, server: s, id: len(s.repositories) + 1}
	s.repositories[name] = repo
	return repo
}

// git runs git on the repository; index is the file of a temporary index, "" for none.
func (repo *Repository) git(index string, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	var out, said bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdin, cmd.Stdout, cmd.Stderr = repo.Dir, gittest.Env(), stdin, &out, &said
	cmd.Env = append(cmd.Env, "GIT_COMMITTER_NAME=GitHub", "GIT_COMMITTER_EMAIL=noreply@github.com",
		"GIT_AUTHOR_NAME=imgbump[bot]", "GIT_AUTHOR_EMAIL=imgbump[bot]@users.noreply.github.com")
	if index != "" {
		cmd.Env = append(cmd.Env, "GIT_INDEX_FILE="+index)
	}
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, said.Bytes())
	}
	return strings.TrimSuffix(out.String(), "\n"), nil
}

// tip is where a branch is, "" when it is nowhere.
func (repo *Repository) tip(branch string) string {
	at, _ := repo.git("", nil, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch)
	return at
}

// contains reports whether commit is an ancestor of tip, or tip itself.
func (repo *Repository) contains(tip, commit string) bool {
	_, err := repo.git("", nil, "merge-base", "--is-ancestor", commit, tip)
	return err == nil
}

func (repo *Repository) protects(branch string) bool { return slices.Contains(repo.Protected, branch) }

// file is one entry of a tree to be written.
type file struct{ mode, path, blob string }

// tree writes the tree base with files put into it.
func (repo *Repository) tree(base string, files []file) (string, error) {
	dir, err := os.MkdirTemp("", "githubtest-")
	if err != nil {
		return "", err
	}
	defer os.RemoveAll(dir)
	index := filepath.Join(dir, "index")
	if _, err := repo.git(index, nil, "read-tree", base); err != nil {
		return "", err
	}
	var lines strings.Builder
	for _, f := range files {
		fmt.Fprintf(&lines, "%s %s\t%s\n", f.mode, f.blob, f.path)
	}
	if _, err := repo.git(index, strings.NewReader(lines.String()), "update-index", "--add", "--index-info"); err != nil {
		return "", err
	}
	return repo.git(index, nil, "write-tree")
}

func (repo *Repository) blob(content []byte) (string, error) {
	return repo.git("", bytes.NewReader(content), "hash-object", "-w", "--stdin")
}

func (repo *Repository) commit(tree, message string, parents []string) (string, error) {
	args := []string{"commit-tree", tree}
	for _, parent := range parents {
		args = append(args, "-p", parent)
	}
	return repo.git("", strings.NewReader(message), args...)
}

// object is the answer about a commit.
func (repo *Repository) object(sha string) (object, error) {
	out, err := repo.git("", nil, "show", "--no-patch", "--format=%T%n%P%n%B", sha+"^{commit}")
	if err != nil {
		return nil, err
	}
	tree, rest, _ := strings.Cut(out, "\n")
	line, message, _ := strings.Cut(rest, "\n")
	parents := []object{}
	for _, parent := range strings.Fields(line) {
		parents = append(parents, object{"sha": parent})
	}
	return object{"sha": sha, "tree": object{"sha": tree}, "parents": parents, "message": strings.TrimRight(message, "\n")}, nil
}

func reference(branch, sha string) object {
	return object{"ref": "refs/heads/" + branch, "object": object{"type": "commit", "sha": sha}}
}

func decode(content, encoding string) ([]byte, error) {
	if encoding == "base64" {
		return base64.StdEncoding.DecodeString(content)
	}
	return []byte(content), nil
}

// text is a string of a request's body, "" when there is none.
func text(o object, key string) string {
	value, _ := o[key].(string)
	return value
}

func invalid(w http.ResponseWriter, page, message string) {
	refuse(w, http.StatusUnprocessableEntity, message, page)
}
