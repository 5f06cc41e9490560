package githubtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// graphQL answers the queries that a client of ours sends, told apart by the field they ask for.
func (s *Server) graphQL(w http.ResponseWriter, r *http.Request) {
	sent := read(r)
	query := text(sent, "query")
	variables, _ := sent["variables"].(object)
	switch {
	case strings.Contains(query, "createCommitOnBranch"):
		input, _ := variables["input"].(object)
		s.createCommitOnBranch(w, r, input)
	case strings.Contains(query, "enablePullRequestAutoMerge"):
		s.enableAutoMerge(w, r, variables)
	case strings.Contains(query, "mergeStateStatus"):
		s.mergeState(w, r, variables)
	default:
		queryFailed(w, "", "A query attribute must be specified and must be a string.")
	}
}

// queryFailed answers 200 with an error of a type, as GraphQL does.
func queryFailed(w http.ResponseWriter, kind, message string) {
	reply(w, http.StatusOK, object{"data": nil, "errors": []object{{"type": kind, "message": message}}})
}

func (s *Server) createCommitOnBranch(w http.ResponseWriter, r *http.Request, input object) {
	at, _ := input["branch"].(object)
	name, branch := text(at, "repositoryNameWithOwner"), text(at, "branchName")
	repo := s.repositories[name]
	switch {
	case repo == nil || !s.may(r, name, ""):
		queryFailed(w, "NOT_FOUND", "Could not resolve to a Repository with the name '"+name+"'.")
	case repo.Unqueried:
		reply(w, http.StatusOK, object{"errors": []object{{
			"path": []string{"mutation", "createCommitOnBranch"}, "message": "Field 'createCommitOnBranch' doesn't exist on type 'Mutation'",
			"extensions": object{"code": "undefinedField", "typeName": "Mutation", "fieldName": "createCommitOnBranch"},
		}}})
	case !s.may(r, name, "contents"):
		queryFailed(w, "FORBIDDEN", "Resource not accessible by integration")
	case repo.tip(branch) == "":
		queryFailed(w, "NOT_FOUND", "Could not resolve to a Ref with the name '"+branch+"'.")
	case repo.tip(branch) != text(input, "expectedHeadOid"):
		queryFailed(w, "STALE_DATA", fmt.Sprintf("Expected branch to point to %q but it did not.  Pull and try again.", text(input, "expectedHeadOid")))
	case repo.protects(branch):
		queryFailed(w, "BRANCH_PROTECTION_RULE_VIOLATION", "Changes must be made through a pull request.")
	default:
		sha, err := repo.add(branch, input)
		if err != nil {
			queryFailed(w, "UNPROCESSABLE", err.Error())
			return
		}
		reply(w, http.StatusOK, object{"data": object{"createCommitOnBranch": object{"commit": object{"oid": sha}}}})
	}
}

// add commits the additions to a branch.
func (repo *Repository) add(branch string, input object) (string, error) {
	message, _ := input["message"].(object)
	words := text(message, "headline")
	if body := text(message, "body"); body != "" {
		words += "\n\n" + body
	}
	changes, _ := input["fileChanges"].(object)
	additions, _ := changes["additions"].([]any)
	var files []file
	for _, addition := range additions {
		a, _ := addition.(object)
		content, err := decode(text(a, "contents"), "base64")
		if err != nil {
			return "", err
		}
		blob, err := repo.blob(content)
		if err != nil {
			return "", err
		}
		files = append(files, file{"100644", text(a, "path"), blob})
	}
	parent := text(input, "expectedHeadOid")
	tree, err := repo.tree(parent, files)
	if err != nil {
		return "", err
	}
	sha, err := repo.commit(tree, words, []string{parent})
	if err != nil {
		return "", err
	}
	_, err = repo.git("", nil, "update-ref", "refs/heads/"+branch, sha, parent)
	return sha, err
}

func (s *Server) enableAutoMerge(w http.ResponseWriter, r *http.Request, variables object) {
	var repository, number int
	_, err := fmt.Sscanf(text(variables, "id"), "PR_%d_%d", &repository, &number)
	method := text(variables, "method")
	for name, repo := range s.repositories {
		if err != nil || repo.id != repository || number < 1 || number > len(repo.pulls) {
			continue
		}
		switch p := repo.pulls[number-1]; {
		case !s.may(r, name, "contents") || !s.may(r, name, "pull_requests"):
			queryFailed(w, "FORBIDDEN", "Resource not accessible by integration")
		case !repo.AutoMerge:
			queryFailed(w, "UNPROCESSABLE", "Auto merge is not allowed for this repository")
		case !slices.Contains(repo.Methods, method):
			queryFailed(w, "UNPROCESSABLE", "Merge method "+strings.ToLower(method)+" merging is not allowed on this repository")
		case !repo.Blocked:
			queryFailed(w, "UNPROCESSABLE", "Pull request Pull request is in clean status")
		default:
			p.AutoMerge = method
			reply(w, http.StatusOK, object{"data": object{"enablePullRequestAutoMerge": object{"pullRequest": object{"id": text(variables, "id")}}}})
		}
		return
	}
	queryFailed(w, "NOT_FOUND", "Could not resolve to a node with the global id of '"+text(variables, "id")+"'.")
}

func (s *Server) mergeState(w http.ResponseWriter, r *http.Request, variables object) {
	name := text(variables, "owner") + "/" + text(variables, "name")
	repo := s.repositories[name]
	if repo == nil || !s.may(r, name, "") {
		queryFailed(w, "NOT_FOUND", "Could not resolve to a Repository with the name '"+name+"'.")
		return
	}
	state := map[bool]string{true: "BLOCKED", false: "CLEAN"}[repo.Blocked]
	reply(w, http.StatusOK, object{"data": object{"repository": object{
		"autoMergeAllowed": repo.AutoMerge, "mergeCommitAllowed": slices.Contains(repo.Methods, "MERGE"),
		"squashMergeAllowed": slices.Contains(repo.Methods, "SQUASH"), "rebaseMergeAllowed": slices.Contains(repo.Methods, "REBASE"),
		"pullRequest": object{"mergeStateStatus": state},
	}}})
}
