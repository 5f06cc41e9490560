package githubtest

import (
	"net/http"
	"strings"
)

const (
	refsPage = "rest/git/refs#update-a-reference"
	rules    = "Repository rule violations found\n\nChanges must be made through a pull request.\n\n"
)

func (s *Server) route() {
	s.on("GET ", "", func(w http.ResponseWriter, _ *http.Request, repo *Repository, _ object) {
		reply(w, http.StatusOK, object{"id": repo.id, "full_name": repo.Owner + "/" + repo.Name, "allow_auto_merge": repo.AutoMerge})
	})
	s.on("GET /git/ref/heads/{branch...}", "", readRef)
	s.on("POST /git/refs", "contents", createRef)
	s.on("PATCH /git/refs/heads/{branch...}", "contents", updateRef)
	s.on("DELETE /git/refs/heads/{branch...}", "contents", deleteRef)
	s.on("GET /git/commits/{sha}", "", readCommit)
	s.on("POST /git/commits", "contents", createCommit)
	s.on("POST /git/trees", "contents", createTree)
	s.on("POST /git/blobs", "contents", createBlob)

	s.on("GET /compare/{span}", "", compare)

	s.on("GET /pulls", "", s.listPulls)
	s.on("POST /pulls", "pull_requests", s.createPull)
	s.on("PATCH /pulls/{number}", "pull_requests", pull(editPull))
	s.on("GET /pulls/{number}/reviews", "", pull(listReviews))
	s.on("POST /pulls/{number}/requested_reviewers", "pull_requests", pull(requestReviewers))
	s.on("POST /issues/{number}/labels", "pull_requests", pull(addLabels))
	s.on("POST /issues/{number}/assignees", "pull_requests", pull(addAssignees))
	s.on("POST /issues/{number}/comments", "pull_requests", pull(addComment))

	s.routes.HandleFunc("POST /graphql", s.graphQL)
	s.routes.HandleFunc("GET /repos/{owner}/{name}/installation", s.installation)
	s.routes.HandleFunc("POST /app/installations/{id}/access_tokens", s.installationToken)
	s.routes.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { notFound(w) })
}

func readRef(w http.ResponseWriter, r *http.Request, repo *Repository, _ object) {
	branch := r.PathValue("branch")
	if at := repo.tip(branch); at != "" {
		reply(w, http.StatusOK, reference(branch, at))
		return
	}
	notFound(w)
}

func createRef(w http.ResponseWriter, _ *http.Request, repo *Repository, sent object) {
	branch, ok := strings.CutPrefix(text(sent, "ref"), "refs/heads/")
	switch {
	case !ok:
		invalid(w, refsPage, "Reference name must start with 'refs/' and have at least two slashes.")
	case repo.tip(branch) != "":
		invalid(w, refsPage, "Reference already exists")
	case repo.protects(branch):
		invalid(w, refsPage, "Reference update failed")
	default:
		if _, err := repo.git("", nil, "update-ref", "refs/heads/"+branch, text(sent, "sha"), ""); err != nil {
			invalid(w, refsPage, "Object does not exist")
			return
		}
		reply(w, http.StatusCreated, reference(branch, text(sent, "sha")))
	}
}

func updateRef(w http.ResponseWriter, r *http.Request, repo *Repository, sent object) {
	branch, sha := r.PathValue("branch"), text(sent, "sha")
	at := repo.tip(branch)
	force, _ := sent["force"].(bool)
	switch {
	case at == "":
		invalid(w, refsPage, "Reference does not exist")
	case repo.protects(branch):
		invalid(w, refsPage, rules)
	case !force && !repo.contains(sha, at):
		invalid(w, refsPage, "Update is not a fast forward")
	default:
		if _, err := repo.git("", nil, "update-ref", "refs/heads/"+branch, sha, at); err != nil {
			invalid(w, refsPage, "Object does not exist")
			return
		}
		repo.settle()
		reply(w, http.StatusOK, reference(branch, sha))
	}
}

func deleteRef(w http.ResponseWriter, r *http.Request, repo *Repository, _ object) {
	if repo.tip(r.PathValue("branch")) == "" {
		invalid(w, "rest/git/refs#delete-a-reference", "Reference does not exist")
		return
	}
	if _, err := repo.git("", nil, "update-ref", "-d", "refs/heads/"+r.PathValue("branch")); err != nil {
		refuse(w, http.StatusInternalServerError, err.Error(), "rest")
		return
	}
	repo.settle()
	w.WriteHeader(http.StatusNoContent)
}

func readCommit(w http.ResponseWriter, r *http.Request, repo *Repository, _ object) {
	commit, err := repo.object(r.PathValue("sha"))
	if err != nil {
		notFound(w)
		return
	}
	reply(w, http.StatusOK, commit)
}

// compare answers BASE...HEAD with the commits that HEAD has beyond BASE.
func compare(w http.ResponseWriter, r *http.Request, repo *Repository, _ object) {
	base, head, _ := strings.Cut(r.PathValue("span"), "...")
	out, err := repo.git("", nil, "rev-list", "--reverse", base+".."+head)
	if err != nil {
		notFound(w)
		return
	}
	commits := []object{}
	for _, sha := range strings.Fields(out) {
		commit, _ := repo.object(sha)
		commits = append(commits, object{"sha": sha, "commit": commit, "parents": commit["parents"]})
	}
	reply(w, http.StatusOK, object{"total_commits": len(commits), "commits": commits[:min(len(commits), 250)]})
}

// createCommit signs, in what it says, what has neither author nor committer.
func createCommit(w http.ResponseWriter, _ *http.Request, repo *Repository, sent object) {
	var parents []string
	given, _ := sent["parents"].([]any)
	for _, parent := range given {
		parents = append(parents, parent.(string))
	}
	sha, err := repo.commit(text(sent, "tree"), text(sent, "message"), parents)
	if err != nil {
		invalid(w, "rest/git/commits#create-a-commit", "Tree SHA does not exist")
		return
	}
	commit, _ := repo.object(sha)
	_, author := sent["author"]
	_, committer := sent["committer"]
	reason := map[bool]string{true: "unsigned", false: "valid"}[author || committer]
	commit["verification"] = object{"verified": reason == "valid", "reason": reason}
	reply(w, http.StatusCreated, commit)
}

func createTree(w http.ResponseWriter, _ *http.Request, repo *Repository, sent object) {
	const page = "rest/git/trees#create-a-tree"
	var files []file
	entries, _ := sent["tree"].([]any)
	for _, entry := range entries {
		e, _ := entry.(object)
		f := file{text(e, "mode"), text(e, "path"), text(e, "sha")}
		if f.path == "" || strings.HasPrefix(f.path, "/") || strings.Contains("/"+f.path+"/", "/../") {
			invalid(w, page, "tree.path contains a malformed path component")
			return
		}
		if f.blob == "" {
			f.blob, _ = repo.blob([]byte(text(e, "content")))
		}
		files = append(files, f)
	}
	sha, err := repo.tree(text(sent, "base_tree"), files)
	if err != nil {
		notFound(w)
		return
	}
	reply(w, http.StatusCreated, object{"sha": sha})
}

func createBlob(w http.ResponseWriter, _ *http.Request, repo *Repository, sent object) {
	content, err := decode(text(sent, "content"), text(sent, "encoding"))
	if err != nil {
		invalid(w, "rest/git/blobs#create-a-blob", "content is not valid Base64")
		return
	}
	sha, err := repo.blob(content)
	if err != nil {
		refuse(w, http.StatusInternalServerError, err.Error(), "rest")
		return
	}
	reply(w, http.StatusCreated, object{"sha": sha})
}
