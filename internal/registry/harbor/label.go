package harbor

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// maxLabel is how long the name of a label may be, in bytes (Harbor's database).
const maxLabel = 128

// Label puts labels of the project on an artifact; those that the project lacks are made. One that it bears already is no
// error.
func (c *Client) Label(ctx context.Context, repository, reference string, names []string) error {
	project, _, _ := strings.Cut(repository, "/")
	p, err := c.Project(ctx, project)
	if err != nil {
		return err
	}
	for _, label := range names {
		id, err := c.label(ctx, p, strings.ToValidUTF8(label[:min(len(label), maxLabel)], "")) // it may be cut inside of a letter
		if err != nil {
			return err
		}
		_, err = c.send(ctx, call{what: "label", where: name(repository, reference), method: http.MethodPost,
			path: artifactPath(repository, reference) + "/labels", body: map[string]int64{"id": id}, expect: http.StatusOK})
		if err != nil && !errors.Is(err, ErrConflict) {
			return err
		}
	}
	return nil
}

// label is the number of a project's label, which is made where there is none. Somebody else may be first.
func (c *Client) label(ctx context.Context, p Project, name string) (int64, error) {
	id, err := c.findLabel(ctx, p, name)
	if id != 0 || err != nil {
		return id, err
	}
	_, err = c.send(ctx, call{what: "create label", where: p.Name + "/" + name, method: http.MethodPost, path: "/labels",
		body: map[string]any{"name": name, "scope": "p", "project_id": p.ID}, expect: http.StatusCreated})
	if err != nil && !errors.Is(err, ErrConflict) {
		return 0, err
	}
	return c.findLabel(ctx, p, name)
}

// findLabel is the number of a project's label, 0 when there is none. Harbor finds names that contain the one asked for.
func (c *Client) findLabel(ctx context.Context, p Project, name string) (int64, error) {
	type label struct {
		ID   int64
		Name string
	}
	found, err := pages[label](ctx, c, call{what: "list the labels of project", where: p.Name, method: http.MethodGet, path: "/labels", expect: http.StatusOK,
		query: url.Values{"scope": {"p"}, "project_id": {strconv.FormatInt(p.ID, 10)}, "name": {name}}})
	for _, l := range found {
		if l.Name == name {
			return l.ID, nil
		}
	}
	return 0, err
}
