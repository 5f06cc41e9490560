package argoapi_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/argoapi"
	"github.com/ksera524/imgbump/internal/fault"
)

const secret = "S3cretOfTheWebhook"

// TestPush posts what the real Argo CD was seen to take, signed.
func TestPush(t *testing.T) {
	var want, got map[string]any
	if err := json.Unmarshal(recorded(t, "09-webhook-payload.json"), &want); err != nil {
		t.Fatal(err)
	}
	var from *http.Request
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		from, got = r, nil
		json.Unmarshal(body, &got)
		mac := hmac.New(sha256.New, []byte(secret))
		mac.Write(body)
		if r.Header.Get("X-Hub-Signature-256") != "sha256="+hex.EncodeToString(mac.Sum(nil)) {
			http.Error(w, "Webhook processing failed", http.StatusBadRequest)
		}
	}))
	defer server.Close()
	push := argoapi.Push{Repository: "http://me:pw@127.0.0.1:28090/apps.git", Branch: "main", Before: "f7af08e890a016bce12bc71b69cf6bcc278b88a6",
		Commit: "e1e732b834c49a2d89c7f55ac2a3decf738cfca2", Files: []string{"kust/kustomization.yaml"}}
	hook := func(secret string) *argoapi.Webhook {
		w, err := argoapi.OpenWebhook(argoapi.Options{Address: server.URL + "/", Token: secret, Agent: "imgbump/test"})
		if err != nil {
			t.Fatal(err)
		}
		return w
	}
	if err := hook(secret+"\n").Post(t.Context(), push); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-taken by Argo CD +posted:\n%s", diff)
	}
	if from.Method != "POST" || from.URL.Path != "/api/webhook" || from.Header.Get("X-GitHub-Event") != "push" || from.Header.Get("Content-Type") != "application/json" || from.Header.Get("Authorization") != "" {
		t.Errorf("%s %s %v", from.Method, from.URL, from.Header)
	}
	for _, wrong := range []string{"", "wrong"} {
		err := hook(wrong).Post(t.Context(), push)
		if fault.KindOf(err) != fault.Denied || !strings.Contains(err.Error(), "answers 400: Webhook processing failed") || !strings.Contains(fault.HintOf(err), "webhook.github.secret") {
			t.Errorf("secret %q: %v", wrong, err)
		}
	}
	for repository, page := range map[string]string{
		"git@github.com:acme/gitops.git": "https://github.com/acme/gitops", "ssh://git@git.example.com:2222/acme/gitops.git": "https://git.example.com/acme/gitops",
		"https://github.com/acme/gitops/": "https://github.com/acme/gitops", "host:/srv/x.git": "https://host/srv/x", "/srv/gitops.git": "",
	} {
		push.Repository = repository
		err := hook(secret).Post(t.Context(), push)
		if posted, _ := got["repository"].(map[string]any); (err == nil) != (page != "") || err == nil && posted["html_url"] != page {
			t.Errorf("%s: %v, %v", repository, posted, err)
		}
	}
}

// TestPushNowhere says what is wrong with an address, and nothing of a secret in it.
func TestPushNowhere(t *testing.T) {
	for _, address := range []string{"", "argocd.example.com", "ftp://x", "https://me:pw@x/api/webhook"} {
		if _, err := argoapi.OpenWebhook(argoapi.Options{Address: address}); fault.KindOf(err) != fault.Usage || strings.Contains(fmt.Sprint(err), "pw") {
			t.Errorf("%q: %v", address, err)
		}
	}
	w, err := argoapi.OpenWebhook(argoapi.Options{Address: "http://127.0.0.1:1/x?key=pw", Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	push := argoapi.Push{Repository: "https://example.com/x"}
	err = w.Post(t.Context(), push)
	if text := fmt.Sprint(err, fault.HintOf(err)); !strings.Contains(text, "reach 127.0.0.1:1") || strings.Contains(text, "pw") || strings.Contains(text, secret) {
		t.Error(text)
	}
	interfaced := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "<!doctype html>") }))
	defer interfaced.Close()
	w, err = argoapi.OpenWebhook(argoapi.Options{Address: interfaced.URL + "/argocd", Token: secret})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Post(t.Context(), push); err == nil || !strings.Contains(err.Error(), "with a page, and not as Argo CD does") {
		t.Error(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.Post(ctx, push); err != context.Canceled {
		t.Error(err)
	}
}
