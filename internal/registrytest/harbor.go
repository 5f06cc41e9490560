package registrytest

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// refusal is an answer of Harbor that is not the one hoped for.
type refusal struct {
	status        int
	code, message string
	detail        []string // digests, one error each
	challenge     *string  // Www-Authenticate, which may be present and empty
}

func ptr(s string) *string { return &s }

var basicChallenge = ptr(`Basic realm="harbor"`)

// bearerChallenge names the token service under the name that the client used; Harbor has it configured.
func bearerChallenge(r *http.Request, repository, actions string) *string {
	c := fmt.Sprintf(`Bearer realm="%s/service/token",service="harbor-registry"`, base(r))
	if repository != "" {
		c += fmt.Sprintf(`,scope="repository:%s:%s"`, repository, actions)
	}
	return &c
}

// unauthorized says its message twice, as Harbor does.
func unauthorized(message string, challenge *string) refusal {
	return refusal{status: http.StatusUnauthorized, code: "UNAUTHORIZED", message: message + ": " + message, challenge: challenge}
}

func refuse(w http.ResponseWriter, r refusal) {
	type one struct {
		Code    string `json:"code"`
		Message string `json:"message"`
		Detail  string `json:"detail,omitempty"`
	}
	errs := []one{{Code: r.code, Message: r.message}}
	if len(r.detail) > 0 {
		errs = nil
	}
	for _, d := range r.detail {
		errs = append(errs, one{r.code, r.message, d})
	}
	body, _ := json.Marshal(map[string]any{"errors": errs})
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(len(body)+1))
	if r.challenge != nil {
		w.Header().Set("Www-Authenticate", *r.challenge)
		w.Header().Set("Docker-Distribution-Api-Version", "registry/2.0")
	}
	w.WriteHeader(r.status)
	w.Write(append(body, '\n'))
}

// caller is who a request says it is from, and what its token allows.
type caller struct {
	tried bool // there was an Authorization
	known bool // and it was right
	robot Robot
	token *grant
}

// grant is what a token allows: actions for each repository.
type grant struct{ actions map[string][]string }

type tokens struct {
	mu     sync.Mutex
	issued map[string]grant
}

func (s *Server) who(r *http.Request) caller {
	header := r.Header.Get("Authorization")
	if user, secret, ok := r.BasicAuth(); ok {
		for _, robot := range s.config.Robots {
			if robot.Name == user && robot.Secret == secret {
				return caller{tried: true, known: true, robot: robot}
			}
		}
	}
	if value, ok := strings.CutPrefix(header, "Bearer "); ok {
		s.tokens.mu.Lock()
		defer s.tokens.mu.Unlock()
		if g, ok := s.tokens.issued[value]; ok {
			return caller{tried: true, known: true, token: &g}
		}
	}
	return caller{tried: header != ""}
}

// allowed reports whether the caller may do action (pull or push) in the repository.
func (s *Server) allowed(c caller, repository, action string) bool {
	project, _, _ := strings.Cut(repository, "/")
	switch {
	case c.token != nil:
		return slices.Contains(c.token.actions[repository], action)
	case action == "pull" && s.public(project):
		return true
	}
	return c.known && (c.robot.Admin || c.robot.Project == project && (action == "pull" || c.robot.Push))
}

// token is Harbor's token service: a wrong login gets a token too, for nothing, unless no scope is asked for.
func (s *Server) token(w http.ResponseWriter, r *http.Request) {
	who, scopes := s.who(r), r.URL.Query()["scope"]
	if len(scopes) == 0 && !who.known {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	g := grant{actions: map[string][]string{}}
	for _, scope := range scopes {
		parts := strings.Split(scope, ":")
		if len(parts) != 3 {
			continue
		}
		for action := range strings.SplitSeq(parts[2], ",") {
			if s.allowed(who, parts[1], action) {
				g.actions[parts[1]] = append(g.actions[parts[1]], action)
			}
		}
	}
	life := s.config.TokenLife
	if life == 0 {
		life = 30 * time.Minute
	}
	value := g.jwt()
	s.tokens.mu.Lock()
	if s.tokens.issued == nil {
		s.tokens.issued = map[string]grant{}
	}
	s.tokens.issued[value] = g
	s.tokens.mu.Unlock()
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	fmt.Fprintf(w, `{"token":%q,"access_token":"","expires_in":%d,"issued_at":"2026-11-23T02:08:13Z"}`, value, int(life.Seconds()))
}

// jwt is a token whose claims tell what it allows, as Harbor's do. Its signature is none: we keep what we gave.
func (g grant) jwt() string {
	type access struct {
		Type    string   `json:"type"`
		Name    string   `json:"name"`
		Actions []string `json:"actions"`
	}
	claims := struct {
		Issuer string   `json:"iss"`
		ID     string   `json:"jti"`
		Access []access `json:"access"`
	}{Issuer: "harbor-token-issuer", ID: rand.Text(), Access: []access{}}
	for repository, actions := range g.actions {
		claims.Access = append(claims.Access, access{"repository", repository, actions})
	}
	raw, _ := json.Marshal(claims)
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"typ":"JWT","alg":"RS256"}`)) + "." + encode(raw) + "." + encode([]byte("signature"))
}

// access is Harbor's answer to a caller who may not do what he asks, nil when he may.
func (s *Server) access(r *http.Request, t target) *refusal {
	if !strings.Contains(t.repository, "/") {
		return &refusal{status: http.StatusBadRequest, code: "BAD_REQUEST", message: "bad request: invalid repository name: " + t.repository}
	}
	if !slices.Contains(s.projects(), t.project) {
		u := unauthorized("project "+t.project+" not found", ptr(""))
		return &u
	}
	action, actions := "push", "pull,push"
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		action, actions = "pull", "pull"
	}
	who := s.who(r)
	if s.allowed(who, t.repository, action) {
		return nil
	}
	message := fmt.Sprintf("unauthorized to access repository: %s, action: %s", t.repository, action)
	challenge := basicChallenge
	if !who.tried {
		challenge = bearerChallenge(r, t.repository, actions)
		if t.kind == "manifests" && action == "pull" {
			message = "authorize header needed to send HEAD to repository"
		}
	}
	u := unauthorized(message, challenge)
	return &u
}

// rules are read-only mode, quota, immutable tags, and what a manifest may name.
func (s *Server) rules(r *http.Request, t target) *refusal {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		if t.kind == "manifests" && s.probe(t.repository, t.name) == "" {
			return &refusal{status: http.StatusNotFound, code: "NOT_FOUND", message: fmt.Sprintf("artifact %s:%s not found", t.repository, t.name)}
		}
		return nil
	}
	if s.config.ReadOnly {
		return &refusal{status: http.StatusForbidden, code: "DENIED", message: "The system is in read only mode. Any modification is prohibited."}
	}
	switch {
	case t.kind == "manifests" && r.Method == http.MethodPut:
		return s.manifestRules(r, t)
	}
	return nil
}

// quotaRule is Harbor's answer to the end of an upload that is too large for the project.
func (s *Server) quotaRule(size int64, t target) *refusal {
	limit, ok := s.config.Quota[t.project]
	used := s.blobs.used(t.project)
	if !ok || used+size <= limit {
		return nil
	}
	return &refusal{status: http.StatusForbidden, code: "DENIED", message: fmt.Sprintf(
		"adding %s of storage resource, which when updated to current usage of %s will exceed the configured upper limit of %s.",
		human(size), human(used), human(limit))}
}

// human writes a size as Harbor does: "5.7 MiB".
func human(n int64) string {
	value, unit := float64(n), 0
	for value >= 1024 && unit < 3 {
		value, unit = value/1024, unit+1
	}
	return fmt.Sprintf("%.1f %s", value, []string{"B", "KiB", "MiB", "GiB"}[unit])
}

// probe is the digest of what a tag names, "" when it names nothing.
func (s *Server) probe(repository, name string) string {
	r, err := http.NewRequest(http.MethodHead, "/v2/"+repository+"/manifests/"+name, nil)
	if err != nil {
		return ""
	}
	w := headers{}
	s.inner.ServeHTTP(w, r)
	return w.Header().Get("Docker-Content-Digest")
}

// headers is a ResponseWriter that keeps the headers only.
type headers http.Header

func (h headers) Header() http.Header         { return http.Header(h) }
func (h headers) Write(p []byte) (int, error) { return len(p), nil }
func (h headers) WriteHeader(int)             {}

func (s *Server) manifestRules(r *http.Request, t target) *refusal {
	if s.immutable(t.repository+":"+t.name) && s.probe(t.repository, t.name) != "" {
		_, name, _ := strings.Cut(t.repository, "/")
		return &refusal{status: http.StatusPreconditionFailed, code: "PRECONDITION",
			message: fmt.Sprintf("Failed to process request due to '%s:%s' configured as immutable.", name, t.name)}
	}
	body, _ := io.ReadAll(r.Body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	m, err := v1.ParseManifest(bytes.NewReader(body))
	if err != nil || m.Config.Digest == (v1.Hash{}) {
		return nil // an index, or the storage will complain
	}
	unknown := refusal{status: http.StatusBadRequest, code: "MANIFEST_BLOB_UNKNOWN", message: "blob unknown to registry"}
	for _, d := range append([]v1.Descriptor{m.Config}, m.Layers...) {
		if d.MediaType.IsDistributable() && !s.blobs.has(t.repository, d.Digest) {
			unknown.detail = append(unknown.detail, d.Digest.String())
		}
	}
	if len(unknown.detail) == 0 {
		return nil
	}
	return &unknown
}

func (s *Server) immutable(tag string) bool {
	return slices.ContainsFunc(s.config.Immutable, func(pattern string) bool {
		ok, _ := path.Match(pattern, tag)
		return ok
	})
}
