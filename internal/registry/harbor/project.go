package harbor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// Project is a project as its members see it.
type Project struct {
	ID   int64  `json:"project_id"`
	Name string `json:"name"`
}

// CreateProject makes a project. One that is there already is an error of the kind ErrConflict.
func (c *Client) CreateProject(ctx context.Context, name string, public bool) error {
	body := map[string]any{"project_name": name, "metadata": map[string]string{"public": strconv.FormatBool(public)}}
	_, err := c.send(ctx, call{what: "create project", where: name, method: http.MethodPost, path: "/projects", body: body, expect: http.StatusCreated})
	return hinted(err, ErrForbidden, "the account may not create projects",
		"an administrator can: under Projects, New Project; or give a system robot account the right to create projects")
}

// Project is the project of that name. Robots may have no right to see it: ErrForbidden.
func (c *Client) Project(ctx context.Context, name string) (Project, error) {
	var p Project
	_, err := c.send(ctx, call{what: "read project", where: name, method: http.MethodGet, path: "/projects/" + url.PathEscape(name), into: &p, expect: http.StatusOK})
	return p, hinted(err, ErrMissing, fmt.Sprintf("project %s does not exist on %s", name, c.host), "check the spelling; Harbor's projects are in lower case")
}

// Quota is how many bytes a project may hold and does hold; Limit is -1 without a limit.
type Quota struct{ Limit, Used int64 }

// Quota is the storage quota of a project.
func (c *Client) Quota(ctx context.Context, project string) (Quota, error) {
	var s struct {
		Quota struct{ Hard, Used struct{ Storage int64 } }
	}
	s.Quota.Hard.Storage = -1
	_, err := c.send(ctx, call{what: "read the quota of project", where: project, method: http.MethodGet,
		path: "/projects/" + url.PathEscape(project) + "/summary", into: &s, expect: http.StatusOK})
	return Quota{Limit: s.Quota.Hard.Storage, Used: s.Quota.Used.Storage}, err
}

// System is what Harbor tells of itself; Version is "" for those who did not log in.
type System struct {
	Version     string `json:"harbor_version"`
	ReadOnly    bool   `json:"read_only"`
	ExternalURL string `json:"external_url"`
}

// System is what Harbor tells of itself.
func (c *Client) System(ctx context.Context) (System, error) {
	var s System
	_, err := c.send(ctx, call{what: "ask", where: c.host, method: http.MethodGet, path: "/systeminfo", into: &s, expect: http.StatusOK})
	return s, err
}

// Repositories are the names of a project's repositories, each with the project: "team/app".
func (c *Client) Repositories(ctx context.Context, project string) ([]string, error) {
	listed, err := pages[Repository](ctx, c, call{what: "list the repositories of project", where: project, method: http.MethodGet,
		path: "/projects/" + url.PathEscape(project) + "/repositories", expect: http.StatusOK})
	var names []string
	for _, r := range listed {
		if strings.HasPrefix(r.Name, project+"/") {
			names = append(names, r.Name)
		}
	}
	return names, err
}

// Repository is a repository with the description that Harbor's web page shows.
type Repository struct{ Name, Description string }

// Repository is the repository of that name. That there is none is an error of the kind ErrMissing.
func (c *Client) Repository(ctx context.Context, name string) (Repository, error) {
	var r Repository
	_, err := c.send(ctx, call{what: "find repository", where: name, method: http.MethodGet, path: repositoryPath(name), into: &r, expect: http.StatusOK})
	return r, hinted(err, ErrMissing, "no such repository on "+c.host, "check the spelling: PROJECT/NAME, in lower case")
}

// Describe gives a repository a description, unless it has one.
func (c *Client) Describe(ctx context.Context, repository, description string) error {
	r, err := c.Repository(ctx, repository)
	if err != nil || r.Description != "" {
		return err
	}
	_, err = c.send(ctx, call{what: "describe repository", where: repository, method: http.MethodPut, path: repositoryPath(repository),
		body: map[string]string{"description": description}, expect: http.StatusOK})
	return err
}
