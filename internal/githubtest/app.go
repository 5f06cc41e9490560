package githubtest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// App is a GitHub App that is installed on Repositories, and with that on no others.
type App struct {
	ID, ClientID string
	Key          *rsa.PublicKey
	Repositories []string          // "owner/name"
	Permissions  map[string]string // "contents": "write"
	Suspended    bool
}

// Install makes the server know an App.
func (s *Server) Install(app App) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.apps = append(s.apps, app)
}

// app is the number of the App that signed a request, or the answer that GitHub gives instead
// (docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app).
func (s *Server) app(w http.ResponseWriter, r *http.Request) (number int, ok bool) {
	now := time.Now()
	if s.Clock != nil {
		now = s.Clock()
	}
	w.Header().Set("Date", now.UTC().Format(http.TimeFormat))
	text, signature, _ := cutLast(token(r), ".")
	_, payload, _ := strings.Cut(text, ".")
	var claim struct {
		Iat, Exp int64
		Iss      string
	}
	raw, err := base64.RawURLEncoding.DecodeString(payload)
	if err != nil || json.Unmarshal(raw, &claim) != nil {
		return 0, denied(w, "A JSON web token could not be decoded")
	}
	number = slices.IndexFunc(s.apps, func(a App) bool { return claim.Iss == a.ID || claim.Iss == a.ClientID })
	if number < 0 {
		return 0, denied(w, "A JSON web token could not be decoded")
	}
	signed, err := base64.RawURLEncoding.DecodeString(signature)
	sum := sha256.Sum256([]byte(text))
	switch {
	case err != nil || rsa.VerifyPKCS1v15(s.apps[number].Key, crypto.SHA256, sum[:], signed) != nil:
		return 0, denied(w, "A JSON web token could not be decoded")
	case claim.Exp > now.Add(10*time.Minute).Unix():
		return 0, denied(w, "'Expiration time' claim ('exp') is too far in the future")
	case claim.Exp <= now.Unix():
		return 0, denied(w, "'Expiration time' claim ('exp') must be a numeric value representing the future time at which the assertion expires")
	case claim.Iat > now.Unix():
		return 0, denied(w, "'Issued at' claim ('iat') must be an Integer representing the time that the assertion was issued")
	}
	return number, true
}

func denied(w http.ResponseWriter, message string) bool {
	refuse(w, http.StatusUnauthorized, message, "rest")
	return false
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func (s *Server) installation(w http.ResponseWriter, r *http.Request) {
	number, ok := s.app(w, r)
	if !ok {
		return
	}
	app := s.apps[number]
	if !slices.Contains(app.Repositories, r.PathValue("owner")+"/"+r.PathValue("name")) {
		notFound(w)
		return
	}
	answer := object{"id": number + 1, "app_slug": "imgbump", "permissions": app.Permissions, "suspended_at": nil}
	if app.Suspended {
		answer["suspended_at"] = "2026-01-02T03:04:05Z"
	}
	reply(w, http.StatusOK, answer)
}

// installationToken makes a token for the repositories and permissions that are asked for, which must be among the App's:
// ghs_ID_NAME, so that a git server can know it too.
func (s *Server) installationToken(w http.ResponseWriter, r *http.Request) {
	number, ok := s.app(w, r)
	if !ok {
		return
	}
	app := s.apps[number]
	if r.PathValue("id") != strconv.Itoa(number+1) {
		notFound(w)
		return
	}
	sent := read(r)
	grant := Grant{Login: "imgbump[bot]"}
	for _, name := range list(sent, "repositories") {
		found := slices.IndexFunc(app.Repositories, func(full string) bool { return strings.HasSuffix(full, "/"+name) })
		if found < 0 {
			invalid(w, "rest/apps/apps#create-an-installation-access-token-for-an-app", "There is at least one repository that does not exist or is not accessible to the parent installation.")
			return
		}
		grant.Repositories = append(grant.Repositories, app.Repositories[found])
	}
	wanted, _ := sent["permissions"].(object)
	for permission, level := range wanted {
		if app.Permissions[permission] != level {
			invalid(w, "rest/apps/apps#create-an-installation-access-token-for-an-app", "The permissions requested are not granted to this installation.")
			return
		}
		grant.Permissions = append(grant.Permissions, permission)
	}
	token := strings.Join(append([]string{"ghs", app.ID}, list(sent, "repositories")...), "_")
	s.grants[token] = grant
	expires := time.Date(2026, 1, 2, 4, 4, 5, 0, time.UTC)
	reply(w, http.StatusCreated, object{"token": token, "expires_at": expires.Format(time.RFC3339), "permissions": wanted})
}
