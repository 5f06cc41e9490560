package registrytest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// Artifact is an image as Harbor's API knows it. Children are digests of what an index refers to, Subject is the digest
// of what a signature hangs on.
type Artifact struct {
	Repository string
	Digest     string
	Tags       []string
	Pushed     time.Time
	Created    time.Time // by its configuration
	OS, Arch   string
	Size       int64
	Children   []string
	Subject    string
	Labels     []string

	id    int
	scans int // times that the state of its scan was asked for; 0 is before
}

// Label is a label of a project.
type Label struct {
	ID        int    `json:"id"`
	Name      string `json:"name"`
	Scope     string `json:"scope"`
	ProjectID int    `json:"project_id"`
}

// Scanner is what scans images: it finds the same in each.
type Scanner struct {
	Vulnerabilities string // Harbor's JSON, a list
	Asks            int    // how often a scan is asked for until it is done
	Fails           bool
}

// Artifacts are what Harbor's API knows now.
func (s *Server) Artifacts() []Artifact {
	s.apiMu.Lock()
	defer s.apiMu.Unlock()
	var all []Artifact
	for _, a := range s.catalog {
		all = append(all, *a)
	}
	return all
}

// Description is what a repository was described with.
func (s *Server) Description(repository string) string {
	s.apiMu.Lock()
	defer s.apiMu.Unlock()
	return s.described[repository]
}

// Tag gives an image another tag.
func (s *Server) Tag(repository, reference, tag string) {
	s.apiMu.Lock()
	defer s.apiMu.Unlock()
	if a := s.find(repository, reference); a != nil {
		a.Tags = append(a.Tags, tag)
	}
}

// pushed notes a manifest that the storage took.
func (s *Server) pushed(repository, name, digest string, raw []byte) {
	s.apiMu.Lock()
	defer s.apiMu.Unlock()
	a := s.find(repository, digest)
	if a == nil {
		a = &Artifact{Repository: repository, Digest: digest, Pushed: time.Now(), Size: int64(len(raw))}
		a.read(raw)
		s.configured(a, raw)
		s.add(a)
	}
	if name != digest {
		for _, other := range s.catalog {
			if other.Repository == repository {
				other.Tags = slices.DeleteFunc(other.Tags, func(t string) bool { return t == name })
			}
		}
		a.Tags = append([]string{name}, a.Tags...)
	}
}

// read takes what the API tells of an artifact out of its manifest.
func (a *Artifact) read(raw []byte) {
	var subject struct{ Subject struct{ Digest string } }
	json.Unmarshal(raw, &subject)
	a.Subject = subject.Subject.Digest
	if index, err := v1.ParseIndexManifest(bytes.NewReader(raw)); err == nil {
		for _, m := range index.Manifests {
			a.Children = append(a.Children, m.Digest.String())
		}
	}
	if m, err := v1.ParseManifest(bytes.NewReader(raw)); err == nil {
		for _, l := range m.Layers {
			a.Size += l.Size
		}
	}
}

// configured takes what the API tells of an image out of its configuration.
func (s *Server) configured(a *Artifact, raw []byte) {
	m, err := v1.ParseManifest(bytes.NewReader(raw))
	if err != nil {
		return
	}
	body, err := s.blobs.Get(context.Background(), a.Repository, m.Config.Digest)
	if err != nil {
		return
	}
	if config, err := v1.ParseConfigFile(body); err == nil {
		a.Created, a.OS, a.Arch = config.Created.Time, config.OS, config.Architecture
	}
}

func (s *Server) add(a *Artifact) {
	s.lastID++
	a.id = s.lastID
	s.catalog = append(s.catalog, a)
}

// find is the artifact that a tag or digest names, or nil.
func (s *Server) find(repository, reference string) *Artifact {
	for _, a := range s.catalog {
		if a.Repository == repository && (a.Digest == reference || slices.Contains(a.Tags, reference)) {
			return a
		}
	}
	return nil
}

// parents are the indexes that refer to an artifact.
func (s *Server) parents(a *Artifact) []*Artifact {
	var found []*Artifact
	for _, p := range s.catalog {
		if p.Repository == a.Repository && slices.Contains(p.Children, a.Digest) {
			found = append(found, p)
		}
	}
	return found
}

func (s *Server) repositories(project string) []map[string]any {
	var names []string
	for _, a := range s.catalog {
		if strings.HasPrefix(a.Repository, project+"/") && !slices.Contains(names, a.Repository) {
			names = append(names, a.Repository)
		}
	}
	var all []map[string]any
	for i, name := range names {
		all = append(all, map[string]any{"artifact_count": 1, "creation_time": "2026-11-23T02:08:54.268Z", "id": i + 1, "name": name,
			"project_id": s.projectID(project), "pull_count": 0, "update_time": "2026-11-23T02:08:54.263Z"})
	}
	return all
}

// artifacts answers what is asked of a repository; rest is the path below it.
func (s *Server) artifacts(w http.ResponseWriter, r *http.Request, who caller, repository string, rest []string) *refusal {
	switch at := func(pattern string) bool { return match(pattern, r.Method, rest) }; {
	case len(rest) == 0:
		return s.repository(w, r, repository)
	case at("GET artifacts"):
		return list(w, r, s.listed(repository))
	case len(rest) == 1 || rest[0] != "artifacts":
		return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "path " + r.URL.Path + " was not found"}
	}
	a := s.find(repository, rest[1])
	may := func(right bool) bool { return right || who.admin() }
	switch at := func(pattern string) bool { return match(pattern, r.Method, rest) }; {
	case at("DELETE artifacts/*") && !may(who.robot.Delete), at("POST artifacts/*/scan") && !may(who.robot.Scan), at("POST artifacts/*/labels") && !may(who.robot.Label):
		return errForbidden
	case a == nil:
		sign := ":"
		if strings.HasPrefix(rest[1], "sha256:") {
			sign = "@"
		}
		return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "artifact " + repository + sign + rest[1] + " not found"}
	case at("GET artifacts/*"):
		return answer(w, s.document(a, r.URL.Query().Get("with_scan_overview") == "true"))
	case at("DELETE artifacts/*"):
		return s.delete(a)
	case at("POST artifacts/*/labels"):
		return s.label(r, a)
	case at("POST artifacts/*/scan"):
		return s.scan(w, a)
	case at("GET artifacts/*/additions/vulnerabilities"):
		return s.vulnerabilities(w, a)
	}
	return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "path " + r.URL.Path + " was not found"}
}

func (s *Server) repository(w http.ResponseWriter, r *http.Request, repository string) *refusal {
	if !slices.ContainsFunc(s.catalog, func(a *Artifact) bool { return a.Repository == repository }) {
		return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "repository " + repository + " not found"}
	}
	if r.Method == http.MethodPut {
		var body struct{ Description string }
		json.NewDecoder(r.Body).Decode(&body)
		s.described[repository] = body.Description
		return nil
	}
	return answer(w, map[string]any{"name": repository, "description": s.described[repository]})
}

// listed are the artifacts that Harbor lists, newest first: not what hangs on others, nor children without a tag.
func (s *Server) listed(repository string) []map[string]any {
	shown := []*Artifact{}
	for _, a := range s.catalog {
		if a.Repository == repository && a.Subject == "" && (len(a.Tags) > 0 || len(s.parents(a)) == 0) {
			shown = append(shown, a)
		}
	}
	slices.SortStableFunc(shown, func(a, b *Artifact) int { return b.Pushed.Compare(a.Pushed) })
	all := []map[string]any{}
	for _, a := range shown {
		all = append(all, s.document(a, false))
	}
	return all
}

// stamp is how Harbor writes times.
const stamp = "2006-01-02T15:04:05.000Z"

func (s *Server) document(a *Artifact, overview bool) map[string]any {
	project, _, _ := strings.Cut(a.Repository, "/")
	d := map[string]any{
		"accessories": nil, "digest": a.Digest, "id": a.id, "labels": nil, "icon": "sha256:0048162a053eef4d4ce3fe7518615bef084403614f8bca43b40ae2e762e11e06",
		"manifest_media_type": "application/vnd.oci.image.manifest.v1+json", "media_type": "application/vnd.oci.image.config.v1+json",
		"project_id": s.projectID(project), "pull_time": "0001-01-01T00:00:00.000Z", "push_time": a.Pushed.UTC().Format(stamp), "references": nil,
		"repository_id": 1, "repository_name": a.Repository, "size": a.Size, "tags": nil, "type": "IMAGE",
	}
	if len(a.Children) == 0 {
		d["extra_attrs"] = map[string]any{"architecture": a.Arch, "author": "", "config": map[string]any{}, "created": a.Created.UTC().Format(time.RFC3339Nano), "os": a.OS}
	}
	var tags, references, accessories []map[string]any
	for i, t := range a.Tags {
		tags = append(tags, map[string]any{"artifact_id": a.id, "id": a.id*100 + i, "immutable": s.immutable(a.Repository + ":" + t), "name": t,
			"pull_time": "0001-01-01T00:00:00.000Z", "push_time": a.Pushed.UTC().Format(stamp), "repository_id": 1})
	}
	for i, child := range a.Children {
		d["media_type"], d["manifest_media_type"] = "application/vnd.oci.image.index.v1+json", "application/vnd.oci.image.index.v1+json"
		references = append(references, map[string]any{"child_digest": child, "child_id": i, "parent_id": a.id, "urls": nil})
	}
	for _, other := range s.catalog {
		if other.Repository == a.Repository && other.Subject == a.Digest {
			accessories = append(accessories, map[string]any{"artifact_id": other.id, "creation_time": other.Pushed.UTC().Format(stamp), "digest": other.Digest, "icon": "",
				"id": other.id, "size": other.Size, "subject_artifact_digest": a.Digest, "subject_artifact_id": a.id, "subject_artifact_repo": a.Repository, "type": "signature.cosign"})
		}
	}
	for key, values := range map[string][]map[string]any{"tags": tags, "references": references, "accessories": accessories} {
		if len(values) > 0 {
			d[key] = values
		}
	}
	if overview && a.scans > 0 {
		d["scan_overview"] = map[string]any{reportFormat: s.overview(a)}
	}
	return d
}

// delete removes an artifact, what hangs on it, and its children without tags that no other index refers to.
func (s *Server) delete(a *Artifact) *refusal {
	for _, t := range a.Tags {
		if s.immutable(a.Repository + ":" + t) {
			return &refusal{status: http.StatusPreconditionFailed, code: "PRECONDITION", message: "the tag " + t + " configured as immutable, cannot be deleted"}
		}
	}
	if len(s.parents(a)) > 0 {
		return &refusal{status: http.StatusPreconditionFailed, code: "VIOLATE_FOREIGN_KEY_CONSTRAINT", message: "the deleting artifact is referenced by others"}
	}
	s.drop(a)
	return nil
}

func (s *Server) drop(a *Artifact) {
	s.catalog = slices.DeleteFunc(s.catalog, func(other *Artifact) bool { return other == a })
	for _, name := range append(slices.Clone(a.Tags), a.Digest) {
		if r, err := http.NewRequest(http.MethodDelete, "/v2/"+a.Repository+"/manifests/"+name, nil); err == nil {
			s.inner.ServeHTTP(headers{}, r)
		}
	}
	for _, other := range slices.Clone(s.catalog) {
		hangs := other.Repository == a.Repository && other.Subject == a.Digest
		orphan := other.Repository == a.Repository && slices.Contains(a.Children, other.Digest) && len(other.Tags) == 0 && len(s.parents(other)) == 0
		if hangs || orphan {
			s.drop(other)
		}
	}
}

func (s *Server) label(r *http.Request, a *Artifact) *refusal {
	var body struct{ ID int }
	json.NewDecoder(r.Body).Decode(&body)
	for _, l := range s.made {
		switch {
		case l.ID != body.ID:
		case slices.Contains(a.Labels, l.Name):
			return &refusal{status: http.StatusConflict, code: "CONFLICT", message: "label " + l.Name + " is already added to the artifact"}
		default:
			a.Labels = append(a.Labels, l.Name)
			return nil
		}
	}
	return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: fmt.Sprintf("label %d not found", body.ID)}
}

const reportFormat = "application/vnd.security.vulnerability.report; version=1.1"

func (s *Server) scan(w http.ResponseWriter, a *Artifact) *refusal {
	project, _, _ := strings.Cut(a.Repository, "/")
	switch {
	case s.config.Scanner == nil:
		return &refusal{status: http.StatusPreconditionFailed, code: "PRECONDITION", message: "no available scanner for project: " + strconv.Itoa(s.projectID(project))}
	case a.scans > 0 && a.scans <= s.config.Scanner.Asks:
		return &refusal{status: http.StatusConflict, code: "CONFLICT", message: "a previous scan process is Pending"}
	}
	a.scans = 1
	w.WriteHeader(http.StatusAccepted)
	return nil
}

// overview is how far a scan is: pending, then running, then done.
func (s *Server) overview(a *Artifact) map[string]any {
	status := "Running"
	switch a.scans++; {
	case a.scans <= s.config.Scanner.Asks && a.scans == 2:
		status = "Pending"
	case a.scans > s.config.Scanner.Asks && s.config.Scanner.Fails:
		status = "Error"
	case a.scans > s.config.Scanner.Asks:
		status = "Success"
	}
	return map[string]any{"complete_percent": 100, "duration": 4, "report_id": "a279757c-bf09-4558-b31a-7264bb5b7038", "scan_status": status,
		"scanner": map[string]string{"name": "FakeScan", "vendor": "local", "version": "1.0"}, "severity": "Critical"}
}

func (s *Server) vulnerabilities(w http.ResponseWriter, a *Artifact) *refusal {
	if s.config.Scanner == nil {
		project, _, _ := strings.Cut(a.Repository, "/")
		return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "no scanner registration configured for project: " + strconv.Itoa(s.projectID(project))}
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	io.WriteString(w, `{"`+reportFormat+`":{"generated_at":"2026-11-23T02:17:23Z","scanner":{"name":"FakeScan","vendor":"local","version":"1.0"},"severity":"Critical","vulnerabilities":`+
		s.config.Scanner.Vulnerabilities+`}}`)
	return nil
}
