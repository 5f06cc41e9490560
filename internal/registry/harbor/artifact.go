package harbor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Artifact is an image or index with its tags. Children are what an index refers to; Harbor lists them on their own only
// when they have tags. Accessories are signatures, attestations, SBOMs: never listed on their own, and gone with it.
type Artifact struct {
	Repository  string
	ProjectID   int64
	Digest      string
	Pushed      time.Time
	Created     time.Time // by its configuration; zero where that has no date, and of an index
	Platform    string    // os/arch, Harbor tells no variant; "" where its configuration has none, and of an index
	Size        int64     // in bytes, layers shared with others included
	Tags        []Tag
	Children    []string // digests
	Accessories []string // digests
}

// Tag is a name of an artifact. An immutable one keeps the artifact from being deleted.
type Tag struct {
	Name      string    `json:"name"`
	Pushed    time.Time `json:"push_time"`
	Immutable bool      `json:"immutable"`
}

// document is an artifact as Harbor writes it.
type document struct {
	Digest     string     `json:"digest"`
	ProjectID  int64      `json:"project_id"`
	PushTime   time.Time  `json:"push_time"`
	Attributes attributes `json:"extra_attrs"`
	Size       int64      `json:"size"`
	Tags       []Tag      `json:"tags"`
	References []struct {
		ChildDigest string `json:"child_digest"`
	} `json:"references"`
	Accessories []struct{ Digest string } `json:"accessories"`
	Overview    map[string]overview       `json:"scan_overview"`
}

// attributes are what is wanted of an image's configuration. Of other artifacts Harbor writes anything there.
type attributes struct {
	Created          time.Time
	OS, Architecture string
}

// UnmarshalJSON takes what is that of an image, and leaves the rest: a list keeps none of it.
func (a *attributes) UnmarshalJSON(raw []byte) error {
	type plain attributes
	var read plain
	if json.Unmarshal(raw, &read) == nil {
		*a = attributes(read)
	}
	return nil
}

func (d document) artifact(repository string) Artifact {
	a := Artifact{Repository: repository, ProjectID: d.ProjectID, Digest: d.Digest, Pushed: d.PushTime, Size: d.Size, Tags: d.Tags}
	if of := d.Attributes; len(d.References) == 0 {
		a.Created = of.Created
		if of.OS != "" && of.Architecture != "" {
			a.Platform = of.OS + "/" + of.Architecture
		}
	}
	for _, r := range d.References {
		a.Children = append(a.Children, r.ChildDigest)
	}
	for _, acc := range d.Accessories {
		a.Accessories = append(a.Accessories, acc.Digest)
	}
	return a
}

var details = url.Values{"with_tag": {"true"}, "with_immutable_status": {"true"}, "with_accessory": {"true"}}

// Artifacts are those of a repository, newest first. A repository that does not exist has none.
func (c *Client) Artifacts(ctx context.Context, repository string) ([]Artifact, error) {
	listed, err := pages[document](ctx, c, call{what: "list the images of", where: repository, method: http.MethodGet,
		path: repositoryPath(repository) + "/artifacts", query: details, expect: http.StatusOK})
	var all []Artifact
	for _, d := range listed {
		all = append(all, d.artifact(repository))
	}
	return all, err
}

// Artifact is what a tag or digest names. That it names nothing is an error of the kind ErrMissing.
func (c *Client) Artifact(ctx context.Context, repository, reference string) (Artifact, error) {
	var d document
	_, err := c.send(ctx, call{what: "find", where: name(repository, reference), method: http.MethodGet,
		path: artifactPath(repository, reference), query: details, into: &d, expect: http.StatusOK})
	return d.artifact(repository), hinted(err, ErrMissing, "no such image on "+c.host, "check repository and tag")
}

// Delete removes an artifact with its tags, accessories, and those of its children that have no tag and no other index.
// One that another index refers to stays: ErrReferenced. One that is gone already is an error of the kind ErrMissing.
func (c *Client) Delete(ctx context.Context, repository, digest string) error {
	_, err := c.send(ctx, call{what: "delete", where: name(repository, digest), method: http.MethodDelete,
		path: artifactPath(repository, digest), expect: http.StatusOK})
	err = hinted(err, errFails, "one of its tags is immutable", "change the project's tag immutability rule in Harbor to let it go")
	return hinted(err, ErrReferenced, "an index refers to it", "delete the index first")
}

// name is a reference as people write it, without the host.
func name(repository, reference string) string {
	if strings.Contains(reference, ":") {
		return repository + "@" + reference
	}
	return repository + ":" + reference
}

// Page is the address of an artifact's page in Harbor's portal.
func (c *Client) Page(ctx context.Context, a Artifact) (string, error) {
	api, _, err := c.reach(ctx)
	if err != nil {
		return "", err
	}
	return ArtifactURL(api.Root.String(), a), nil
}

// ArtifactURL is the page of an artifact in Harbor's portal, which knows projects by their numbers only. Server is where
// people reach Harbor: "https://harbor.example.com".
func ArtifactURL(server string, a Artifact) string {
	_, repository, _ := strings.Cut(a.Repository, "/")
	return fmt.Sprintf("%s/harbor/projects/%s/repositories/%s/artifacts-tab/artifacts/%s",
		server, strconv.FormatInt(a.ProjectID, 10), url.PathEscape(repository), a.Digest)
}
