package githubtest

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// Pull is a pull request.
type Pull struct {
	Number      int
	Head, Base  string
	HeadOwner   string // of the repository that Head is in
	Title, Body string
	State       string // open or closed
	Merged      bool
	Draft       bool
	Labels      []string
	Assignees   []string
	Reviewers   []string // who are asked
	Teams       []string // which are asked
	Reviewed    []string // who have given a review
	AutoMerge   string   // by which method; "" is not
	Comments    []string

	repo *Repository
	sha  string // where Head was last
}

// Open makes a pull request that is there already, from HeadOwner's repository or the repository's own.
func (repo *Repository) Open(p Pull) *Pull {
	repo.server.mu.Lock()
	defer repo.server.mu.Unlock()
	return repo.open(p)
}

func (repo *Repository) open(p Pull) *Pull {
	p.Number, p.State, p.repo = len(repo.pulls)+1, "open", repo
	if p.HeadOwner == "" {
		p.HeadOwner = repo.Owner
	}
	repo.pulls = append(repo.pulls, &p)
	return &p
}

// Pulls are all pull requests, in order of their number. They are to be looked at when no request is under way.
func (repo *Repository) Pulls() []*Pull {
	repo.server.mu.Lock()
	defer repo.server.mu.Unlock()
	return slices.Clone(repo.pulls)
}

// settle closes pull requests that have nothing left to merge, as GitHub does.
func (repo *Repository) settle() {
	for _, p := range repo.pulls {
		if head := repo.tip(p.Head); p.State == "open" && p.HeadOwner == repo.Owner && (head == "" || repo.contains(repo.tip(p.Base), head)) {
			p.State, p.Merged = "closed", head != ""
		}
	}
}

func (p *Pull) object(s *Server) object {
	people := func(names []string, key string) []object {
		list := []object{}
		for _, name := range names {
			list = append(list, object{key: name})
		}
		return list
	}
	head := object{"ref": p.Head, "label": p.HeadOwner + ":" + p.Head, "user": object{"login": p.HeadOwner}, "repo": nil}
	if fork := s.repositories[p.HeadOwner+"/"+p.repo.Name]; fork != nil {
		p.sha = cmp.Or(fork.tip(p.Head), p.sha)
		head["sha"] = p.sha
		head["repo"] = object{"id": fork.id, "full_name": p.HeadOwner + "/" + fork.Name}
	}
	full := object{
		"number": p.Number, "state": p.State, "title": p.Title, "body": p.Body, "draft": p.Draft, "node_id": fmt.Sprintf("PR_%d_%d", p.repo.id, p.Number),
		"html_url": fmt.Sprintf("https://github.example.com/%s/%s/pull/%d", p.repo.Owner, p.repo.Name, p.Number),
		"labels":   people(p.Labels, "name"), "assignees": people(p.Assignees, "login"),
		"requested_reviewers": people(p.Reviewers, "login"), "requested_teams": people(p.Teams, "slug"), "auto_merge": nil, "merged_at": nil,
		"head": head, "base": object{"ref": p.Base, "user": object{"login": p.repo.Owner}, "repo": object{"id": p.repo.id, "full_name": p.repo.Owner + "/" + p.repo.Name}},
	}
	if p.Merged {
		full["merged_at"] = "2026-01-02T03:04:05Z"
	}
	if p.AutoMerge != "" {
		full["auto_merge"] = object{"merge_method": strings.ToLower(p.AutoMerge)}
	}
	return full
}

func (s *Server) listPulls(w http.ResponseWriter, r *http.Request, repo *Repository, _ object) {
	query := r.URL.Query()
	state := cmp.Or(query.Get("state"), "open")
	var found []*Pull
	for _, p := range slices.Backward(repo.pulls) { // the newest first
		asked := (query.Get("head") == "" || query.Get("head") == p.HeadOwner+":"+p.Head) && (query.Get("base") == "" || query.Get("base") == p.Base)
		if (state == "all" || p.State == state) && (asked || repo.Unfiltered) {
			found = append(found, p)
		}
	}
	size, _ := strconv.Atoi(query.Get("per_page"))
	number, _ := strconv.Atoi(query.Get("page"))
	if size == 0 {
		size = 30
	}
	begin := min(max(number-1, 0)*size, len(found))
	end := min(begin+size, len(found))
	if end < len(found) {
		query.Set("page", fmt.Sprint(max(number, 1)+1))
		w.Header().Set("Link", fmt.Sprintf(`<https://api.github.example.com%s?%s>; rel="next"`, r.URL.Path, query.Encode()))
	}
	page := []object{}
	for _, p := range found[begin:end] {
		page = append(page, p.object(s))
	}
	reply(w, http.StatusOK, page)
}

func (s *Server) createPull(w http.ResponseWriter, _ *http.Request, repo *Repository, sent object) {
	draft, _ := sent["draft"].(bool)
	p := Pull{Head: text(sent, "head"), Base: text(sent, "base"), Title: text(sent, "title"), Body: text(sent, "body"), HeadOwner: repo.Owner, Draft: draft}
	if owner, branch, ok := strings.Cut(p.Head, ":"); ok {
		p.HeadOwner, p.Head = owner, branch
	}
	wrong := func(e object) {
		e["resource"] = "PullRequest"
		refuse(w, http.StatusUnprocessableEntity, "Validation Failed", "rest/pulls/pulls#create-a-pull-request", e)
	}
	fork := s.repositories[p.HeadOwner+"/"+repo.Name]
	switch {
	case fork == nil || fork.tip(p.Head) == "":
		wrong(object{"field": "head", "code": "invalid"})
	case repo.tip(p.Base) == "":
		wrong(object{"field": "base", "code": "invalid"})
	case slices.ContainsFunc(repo.pulls, func(o *Pull) bool {
		return o.State == "open" && o.HeadOwner == p.HeadOwner && o.Head == p.Head && o.Base == p.Base
	}):
		wrong(object{"code": "custom", "message": "A pull request already exists for " + p.HeadOwner + ":" + p.Head + "."})
	case repo.contains(repo.tip(p.Base), fork.tip(p.Head)):
		wrong(object{"code": "custom", "message": "No commits between " + p.Base + " and " + p.Head})
	default:
		reply(w, http.StatusCreated, repo.open(p).object(s))
	}
}

// pull is a handler of requests about one pull request.
func pull(handle func(w http.ResponseWriter, p *Pull, sent object)) handler {
	return func(w http.ResponseWriter, r *http.Request, repo *Repository, sent object) {
		number, err := strconv.Atoi(r.PathValue("number"))
		if err != nil || number < 1 || number > len(repo.pulls) {
			notFound(w)
			return
		}
		handle(w, repo.pulls[number-1], sent)
	}
}

func editPull(w http.ResponseWriter, p *Pull, sent object) {
	for key, field := range map[string]*string{"title": &p.Title, "body": &p.Body, "state": &p.State} {
		if value, ok := sent[key].(string); ok {
			*field = value
		}
	}
	reply(w, http.StatusOK, object{"number": p.Number, "state": p.State})
}

func listReviews(w http.ResponseWriter, p *Pull, _ object) {
	reviews := []object{}
	for _, login := range p.Reviewed {
		reviews = append(reviews, object{"user": object{"login": login}, "state": "APPROVED"})
	}
	reply(w, http.StatusOK, reviews)
}

func requestReviewers(w http.ResponseWriter, p *Pull, sent object) {
	users, teams := list(sent, "reviewers"), list(sent, "team_reviewers")
	outside := func(allowed []string) func(string) bool {
		return func(name string) bool { return !slices.Contains(allowed, name) }
	}
	if slices.ContainsFunc(users, outside(p.repo.Collaborators)) || slices.ContainsFunc(teams, outside(p.repo.Teams)) {
		invalid(w, "rest/pulls/review-requests#request-reviewers-for-a-pull-request",
			"Reviews may only be requested from collaborators. One or more of the users or teams you specified is not a collaborator of the "+p.repo.Owner+"/"+p.repo.Name+" repository.")
		return
	}
	p.Reviewers, p.Teams = append(p.Reviewers, users...), append(p.Teams, teams...)
	reply(w, http.StatusCreated, object{"number": p.Number})
}

func addLabels(w http.ResponseWriter, p *Pull, sent object) {
	p.Labels = append(p.Labels, list(sent, "labels")...)
	reply(w, http.StatusOK, []object{})
}

// addAssignees leaves out who is no collaborator, and says nothing.
func addAssignees(w http.ResponseWriter, p *Pull, sent object) {
	taken := []object{}
	for _, login := range list(sent, "assignees") {
		if slices.Contains(p.repo.Collaborators, login) {
			p.Assignees = append(p.Assignees, login)
		}
	}
	for _, login := range p.Assignees {
		taken = append(taken, object{"login": login})
	}
	reply(w, http.StatusCreated, object{"number": p.Number, "assignees": taken})
}

func addComment(w http.ResponseWriter, p *Pull, sent object) {
	p.Comments = append(p.Comments, text(sent, "body"))
	reply(w, http.StatusCreated, object{"id": len(p.Comments)})
}

// list is a list of strings in a request's body.
func list(sent object, key string) (names []string) {
	values, _ := sent[key].([]any)
	for _, value := range values {
		names = append(names, value.(string))
	}
	return names
}
