package registrytest

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// api answers as Harbor's API v2.0 does, for the calls that the product makes. Answers without a recording, made after
// Harbor's swagger.yaml: labels, the description of a repository, the quota's and read-only mode's refusals.
func (s *Server) api(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(strings.TrimPrefix(r.URL.EscapedPath(), "/api/v2.0/"), "/")
	for i := range parts { // nginx undoes one escape, core the other
		once, _ := url.PathUnescape(parts[i])
		parts[i], _ = url.PathUnescape(once)
		if strings.Contains(once, "/") {
			refuse(w, refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "path " + r.URL.Path + " was not found"})
			return
		}
	}
	who := s.who(r)
	switch {
	case s.open(): // a registry that is no Harbor
		http.NotFound(w, r)
		return
	case who.tried && !who.known:
		refuse(w, refusal{status: http.StatusUnauthorized, code: "UNAUTHORIZED", message: "unauthorized"})
		return
	}
	s.apiMu.Lock()
	defer s.apiMu.Unlock()
	if refusal := s.route(w, r, who, parts); refusal != nil {
		refuse(w, *refusal)
	}
}

var errForbidden = &refusal{status: http.StatusForbidden, code: "FORBIDDEN", message: "forbidden"}

// route finds what answers a call.
func (s *Server) route(w http.ResponseWriter, r *http.Request, who caller, parts []string) *refusal {
	switch at := func(pattern string) bool { return match(pattern, r.Method, parts) }; {
	case at("GET ping"):
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, "Pong")
		return nil
	case at("GET systeminfo"):
		return s.systemInfo(w, who)
	case !who.known && !s.public(projectOf(parts)):
		return &refusal{status: http.StatusUnauthorized, code: "UNAUTHORIZED", message: "unauthorized"}
	case s.config.ReadOnly && r.Method != http.MethodGet:
		return &refusal{status: http.StatusForbidden, code: "DENIED", message: "The system is in read only mode. Any modification is prohibited."}
	case at("POST projects"):
		return s.createProject(w, r, who)
	case at("GET labels"), at("POST labels"):
		return s.labels(w, r, who)
	case parts[0] == "system":
		return s.collect(w, r, who, parts)
	case !who.admin() && projectOf(parts) != who.robot.Project && !(r.Method == http.MethodGet && s.public(projectOf(parts))):
		return errForbidden
	case parts[0] == "projects" && len(parts) == 3:
		return s.project(w, r, parts[1], parts[2])
	case at("GET projects/*"):
		return s.project(w, r, parts[1], "")
	case parts[0] == "projects" && len(parts) >= 4 && parts[2] == "repositories":
		return s.artifacts(w, r, who, parts[1]+"/"+parts[3], parts[4:])
	}
	return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "path " + r.URL.Path + " was not found"}
}

// match reports whether a call is that of the pattern, in which * stands for any part.
func match(pattern, method string, parts []string) bool {
	want, path, _ := strings.Cut(pattern, " ")
	wanted := strings.Split(path, "/")
	return method == want && slices.EqualFunc(wanted, parts, func(a, b string) bool { return a == "*" || a == b })
}

func projectOf(parts []string) string {
	if parts[0] != "projects" || len(parts) < 2 {
		return ""
	}
	return parts[1]
}

func (c caller) admin() bool { return c.known && c.robot.Admin }

func (s *Server) systemInfo(w http.ResponseWriter, who caller) *refusal {
	about := map[string]any{"auth_mode": "db_auth", "banner_message": "", "oidc_provider_name": "", "primary_auth_mode": false, "self_registration": false}
	if who.known {
		for key, value := range map[string]any{
			"current_time": "2026-11-23T02:07:17.206Z", "external_url": s.URL, "harbor_version": "v2.16.0-c50c7ddd", "has_ca_root": false,
			"notification_enable": true, "project_creation_restriction": "everyone", "read_only": s.config.ReadOnly,
			"registry_storage_provider_name": "filesystem", "registry_url": s.Host,
		} {
			about[key] = value
		}
	}
	return answer(w, about)
}

// answer writes a document as Harbor does, with its keys in order.
func answer(w http.ResponseWriter, document any) *refusal {
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(document)
	return nil
}

// list answers one page.
func list[T any](w http.ResponseWriter, r *http.Request, all []T) *refusal {
	query := r.URL.Query()
	number := func(key string, absent int) int {
		if n, err := strconv.Atoi(query.Get(key)); err == nil {
			return n
		}
		return absent
	}
	page, size := number("page", 1), number("page_size", 10)
	if size > 100 {
		return &refusal{status: http.StatusUnprocessableEntity, code: "UNPROCESSABLE_ENTITY",
			message: "validation failure list:\npage_size in query should be less than or equal to 100"}
	}
	w.Header().Set("X-Total-Count", strconv.Itoa(len(all)))
	link := func(page int, rel string) string {
		query.Set("page", strconv.Itoa(page))
		query.Set("page_size", strconv.Itoa(size))
		return fmt.Sprintf(`<%s?%s>; rel="%s"`, r.URL.EscapedPath(), query.Encode(), rel)
	}
	var links []string
	if page > 1 {
		links = append(links, link(page-1, "prev"))
	}
	if page*size < len(all) {
		links = append(links, link(page+1, "next"))
	}
	if len(links) > 0 {
		w.Header().Set("Link", strings.Join(links, " , "))
	}
	from := min((page-1)*size, len(all))
	return answer(w, append([]T{}, all[from:min(from+size, len(all))]...))
}

var projectName = regexp.MustCompile(`^[a-z0-9]+(?:[._-][a-z0-9]+)*$`)

func (s *Server) createProject(w http.ResponseWriter, r *http.Request, who caller) *refusal {
	var body struct {
		Name     string `json:"project_name"`
		Metadata struct{ Public string }
	}
	json.NewDecoder(r.Body).Decode(&body)
	switch {
	case !who.admin():
		return errForbidden
	case slices.Contains(s.projects(), body.Name):
		return &refusal{status: http.StatusConflict, code: "CONFLICT", message: "The project named " + body.Name + " already exists"}
	case !projectName.MatchString(body.Name):
		return &refusal{status: http.StatusBadRequest, code: "BAD_REQUEST", message: "project name is not in lower case or contains illegal characters"}
	}
	s.mu.Lock()
	s.config.Projects = append(slices.Clone(s.config.Projects), body.Name)
	if body.Metadata.Public == "true" {
		s.config.Public = append(slices.Clone(s.config.Public), body.Name)
	}
	s.mu.Unlock()
	w.Header().Set("Location", fmt.Sprintf("/api/v2.0/projects/%d", s.projectID(body.Name)))
	w.WriteHeader(http.StatusCreated)
	return nil
}

// projectID numbers the projects from 2 on: 1 is Harbor's own library.
func (s *Server) projectID(name string) int { return slices.Index(s.projects(), name) + 2 }

// project answers what is asked of a project as a whole.
func (s *Server) project(w http.ResponseWriter, r *http.Request, name, about string) *refusal {
	if !slices.Contains(s.projects(), name) {
		return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "project " + name + " not found"}
	}
	switch about {
	case "":
		return answer(w, map[string]any{"name": name, "project_id": s.projectID(name), "owner_name": "admin", "repo_count": len(s.repositories(name)),
			"metadata": map[string]string{"public": strconv.FormatBool(s.public(name))}})
	case "summary":
		hard, ok := s.config.Quota[name]
		if !ok {
			hard = -1
		}
		return answer(w, map[string]any{"project_admin_count": 1, "repo_count": len(s.repositories(name)),
			"quota": map[string]any{"hard": map[string]int64{"storage": hard}, "used": map[string]int64{"storage": s.blobs.used(name)}}})
	case "repositories":
		return list(w, r, s.repositories(name))
	}
	return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "path " + r.URL.Path + " was not found"}
}

// labels lists a project's labels, or makes one.
func (s *Server) labels(w http.ResponseWriter, r *http.Request, who caller) *refusal {
	if r.Method == http.MethodGet {
		var found []Label
		for _, l := range s.made {
			if strings.Contains(l.Name, r.URL.Query().Get("name")) && strconv.Itoa(l.ProjectID) == r.URL.Query().Get("project_id") {
				found = append(found, l)
			}
		}
		return list(w, r, found)
	}
	var l Label
	json.NewDecoder(r.Body).Decode(&l)
	if !who.admin() && (l.ProjectID != s.projectID(who.robot.Project) || !who.robot.Label) {
		return errForbidden
	}
	if slices.ContainsFunc(s.made, func(old Label) bool { return old.Name == l.Name && old.ProjectID == l.ProjectID }) {
		return &refusal{status: http.StatusConflict, code: "CONFLICT", message: "label " + l.Name + " already exists"}
	}
	l.ID = len(s.made) + 1
	s.made = append(s.made, l)
	w.Header().Set("Location", fmt.Sprintf("/api/v2.0/labels/%d", l.ID))
	w.WriteHeader(http.StatusCreated)
	return nil
}

// collect starts garbage collection, which is done when it is asked for the second time. Where that was asked for, it takes
// images without a tag along.
func (s *Server) collect(w http.ResponseWriter, r *http.Request, who caller, parts []string) *refusal {
	switch {
	case !who.admin():
		return &refusal{status: http.StatusForbidden, code: "FORBIDDEN", message: who.robot.Name}
	case match("POST system/gc/schedule", r.Method, parts):
		s.collecting = 1
		var body struct {
			Parameters struct {
				Untagged bool `json:"delete_untagged"`
			}
		}
		json.NewDecoder(r.Body).Decode(&body)
		s.catalog = slices.DeleteFunc(s.catalog, func(a *Artifact) bool { return body.Parameters.Untagged && len(a.Tags) == 0 })
		w.Header().Set("Location", "/api/v2.0/system/gc/17")
		w.WriteHeader(http.StatusCreated)
		return nil
	case match("GET system/gc/17", r.Method, parts) && s.collecting > 0:
		status, counted := "Running", `"freed_space":0,"purged_blobs":0,"purged_manifests":0`
		if s.collecting++; s.collecting > 2 {
			status, counted = "Success", `"freed_space":6002844,"purged_blobs":2,"purged_manifests":1`
		}
		return answer(w, map[string]any{"id": 17, "job_kind": "MANUAL", "job_name": "GARBAGE_COLLECTION", "job_status": status, "creation_time": "2026-11-23T02:14:28.494Z",
			"job_parameters": `{"delete_tag":false,"delete_untagged":false,"dry_run":false,` + counted + `,"time_window":2,"workers":1}`,
			"schedule":       map[string]any{"next_scheduled_time": "0001-01-01T00:00:00.000Z", "type": "Manual"}, "update_time": "2026-11-23T02:14:47.000Z"})
	}
	return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: "path " + r.URL.Path + " was not found"}
}
