package argoapi

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// Push is a commit that was pushed, as Argo CD's webhook wants to know of it.
type Push struct {
	Repository string // the address that it was pushed to, of any scheme
	Branch     string
	Before     string // the commit's parent, "" for none
	Commit     string
	Files      []string // that the commit touches
}

// Webhook is where Argo CD hears of pushes.
type Webhook struct {
	target *url.URL
	secret []byte
	agent  string
	http   *http.Client
}

// OpenWebhook is the webhook at an address, https://HOST/api/webhook; the token is the secret that Argo CD keeps for GitHub,
// "" for none. It sends nothing yet. An address that cannot be is an error of kind Usage.
func OpenWebhook(o Options) (*Webhook, error) {
	target, err := url.Parse(o.Address)
	if err != nil || target.Host == "" || target.User != nil || target.Scheme != "https" && target.Scheme != "http" {
		return nil, fault.Usagef("for example: --refresh-webhook https://argocd.example.com/api/webhook", "the address of Argo CD's webhook is none: https://HOST/api/webhook")
	}
	if strings.Trim(target.Path, "/") == "" {
		target.Path = "/api/webhook"
	}
	return &Webhook{target: target, secret: []byte(strings.TrimSpace(o.Token)), agent: o.Agent, http: direct(o.Roots)}, nil
}

const posting = "tell Argo CD's webhook of the commit"

// Post tells of a push. Argo CD says nothing about applications; it refreshes those of the repository and the branch.
func (w *Webhook) Post(ctx context.Context, p Push) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	body, err := p.event()
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, w.target.String(), bytes.NewReader(body))
	if err != nil {
		return err
	}
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("X-GitHub-Event", "push")
	r.Header.Set("User-Agent", w.agent)
	if len(w.secret) > 0 {
		mac := hmac.New(sha256.New, w.secret)
		mac.Write(body)
		r.Header.Set("X-Hub-Signature-256", "sha256="+hex.EncodeToString(mac.Sum(nil)))
	}
	resp, err := w.http.Do(r)
	if err != nil {
		return reaching(ctx, &fault.Error{What: posting}, w.target, err)
	}
	answer, _ := read(resp)
	page := strings.HasPrefix(strings.TrimSpace(string(answer)), "<")
	if resp.StatusCode == http.StatusOK && !page {
		return nil
	}
	f := &fault.Error{What: posting, Err: fmt.Errorf("%s answers %d: %s", w.target.Host, resp.StatusCode, said(string(answer))),
		Hint: "is it the address of Argo CD's webhook, https://HOST/api/webhook?"}
	if page {
		f.Err = fmt.Errorf("%s answers %d with a page, and not as Argo CD does", w.target.Host, resp.StatusCode)
	}
	if resp.StatusCode == http.StatusBadRequest || resp.StatusCode == http.StatusUnauthorized || resp.StatusCode == http.StatusForbidden {
		f.Kind = fault.Denied
		f.Hint = "the secret must be webhook.github.secret of Argo CD's argocd-secret: IMGBUMP_ARGOCD_WEBHOOK_SECRET or --refresh-webhook-secret-file"
	}
	return f
}

// event is the push as GitHub tells of one, as far as Argo CD reads it.
func (p Push) event() ([]byte, error) {
	type commit struct {
		ID       string   `json:"id"`
		Added    []string `json:"added"`
		Removed  []string `json:"removed"`
		Modified []string `json:"modified"`
	}
	page, err := p.page()
	if err != nil {
		return nil, err
	}
	before := p.Before
	if before == "" {
		before = strings.Repeat("0", 40)
	}
	return json.Marshal(map[string]any{
		"ref": "refs/heads/" + p.Branch, "before": before, "after": p.Commit,
		"repository": map[string]string{"html_url": page, "default_branch": p.Branch}, // so that it counts for HEAD, too
		"commits":    []commit{{p.Commit, []string{}, []string{}, append([]string{}, p.Files...)}},
	})
}

// page is the repository's address as Argo CD compares it: by host and path, which it reads from a URL.
func (p Push) page() (string, error) {
	address := p.Repository
	if !strings.Contains(address, "://") {
		host, rest, scp := strings.Cut(address, ":")
		if !scp || strings.Contains(host, "/") {
			return "", fault.Usagef("leave --refresh-webhook away: Argo CD is asked for a refresh", "Argo CD knows no repository in a folder")
		}
		address = "https://" + host[strings.LastIndexByte(host, '@')+1:] + "/" + strings.TrimPrefix(rest, "/")
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" {
		return "", errors.New("the repository's address cannot be read")
	}
	if u.Scheme != "http" && u.Scheme != "https" {
		u.Scheme, u.Host = "https", u.Hostname()
	}
	page := url.URL{Scheme: u.Scheme, Host: u.Host, Path: strings.TrimSuffix(strings.TrimRight(u.Path, "/"), ".git")}
	return page.String(), nil
}
