package argotest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
)

const webhook = "/api/webhook"

// webhook hears of a push: applications of that repository are refreshed. Nothing is said about them.
func (s *Server) webhook(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	mac := hmac.New(sha256.New, []byte(s.Secret))
	mac.Write(body)
	switch {
	case r.Header.Get("X-GitHub-Event") != "push":
		http.Error(w, "Unknown webhook event", http.StatusBadRequest)
		return
	case s.Secret != "" && r.Header.Get("X-Hub-Signature-256") != "sha256="+hex.EncodeToString(mac.Sum(nil)):
		http.Error(w, "Webhook processing failed", http.StatusBadRequest)
		return
	}
	var push struct {
		Ref        string `json:"ref"`
		Repository struct {
			Page string `json:"html_url"`
		} `json:"repository"`
	}
	if json.Unmarshal(body, &push) != nil {
		http.Error(w, "Webhook processing failed", http.StatusBadRequest)
		return
	}
	s.edit(func() {
		for _, a := range s.applications {
			if a.now != nil && a.now.Spec.Source != nil && where(a.now.Spec.Source.Repository) == where(push.Repository.Page) &&
				push.Ref == "refs/heads/"+a.now.Spec.Source.Revision {
				a.refresh()
			}
		}
	})
}

// where is what two addresses of a repository have in common.
func where(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return address
	}
	return strings.ToLower(u.Hostname() + strings.TrimSuffix(u.Path, ".git"))
}
