package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// tell delivers a webhook of a type, and returns the status.
func (s *serving) tell(path, secret, body string) int {
	s.t.Helper()
	r, err := http.NewRequest("POST", s.url+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("X-Webhook-Secret", secret)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// Whoever has the secret of a webhook has images looked at that a policy names. Nothing that is told leads to another server,
// before the first round or after it.
func TestServeAsksNoStranger(t *testing.T) {
	var asked atomic.Int32
	stranger := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked.Add(1) }))
	t.Cleanup(stranger.Close)
	host := strings.TrimPrefix(stranger.URL, "http://")
	f := newFleet(t, 3)
	s := f.begin("--repo", f.repository.URL, "--branch", "main", "--plain-http",
		"IMGBUMP_WEBHOOK_SECRET_CLOUDEVENTS="+hookSecret, "IMGBUMP_WEBHOOK_SECRET_DISTRIBUTION="+hookSecret,
		"IMGBUMP_WEBHOOK_SECRET_QUAY_IO="+hookSecret, "IMGBUMP_WEBHOOK_SECRET_ALIYUN_ACR="+hookSecret)
	lies := map[string]string{
		"/webhook/harbor": `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"9.0.0","resource_url":"HOST/team/app1:9.0.0"}],"repository":{"repo_full_name":"team/app1"}}}`,
		"/webhook/cloudevents": `[{"specversion":"1.0","type":"image.pushed","source":"https://HOST/x","data":{"repository":"team/app1","tag":"9.0.0"}},` +
			`{"specversion":"1.0","type":"image.pushed","source":"x","data":{"repository":"team/app1","tag":"9.0.0","registryUrl":"http://HOST"}}]`,
		"/webhook/distribution":                 `{"events":[{"action":"push","request":{"host":"HOST"},"target":{"url":"http://HOST/v2/","repository":"team/app1","tag":"9.0.0"}}]}`,
		"/webhook/quay.io":                      `{"repository":"team/app1","docker_url":"HOST/team/app1","homepage":"http://HOST","updated_tags":["9.0.0"]}`,
		"/webhook/aliyun-acr?registry_url=HOST": `{"push_data":{"tag":"9.0.0"},"repository":{"repo_full_name":"team/app1"}}`,
	}
	for _, version := range []string{"1.2.0", "1.3.0"} {
		for path, body := range lies {
			if code := s.tell(strings.ReplaceAll(path, "HOST", host), hookSecret, strings.ReplaceAll(body, "HOST", host)); code != 202 {
				t.Errorf("%s: %d", path, code)
			}
		}
		if code := s.hook(hookSecret, f.push("app1", version)); code != 202 {
			t.Errorf("a webhook: %d", code)
		}
		until(t, func() bool { return f.says()["app1"] == version }) // and all that was told before has had its round
	}
	if n := asked.Load(); n > 0 {
		t.Errorf("a server that nobody here names was asked %d times\n%s", n, s.log())
	}
	if metrics := s.ask("/metrics"); strings.Contains(metrics, host) {
		t.Errorf("it is in the metrics:\n%s", metrics)
	}
}

// Ten thousand webhooks of images that nobody has take neither memory nor the place of one that somebody has.
func TestServeFlood(t *testing.T) {
	f := newFleet(t, 3)
	s := f.serve()
	var all sync.WaitGroup
	work := make(chan int)
	for range 8 {
		all.Go(func() {
			for n := range work {
				body := fmt.Sprintf(`{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"1","resource_url":"r%d.example.com/x:1"}],"repository":{"repo_full_name":"team/%0200d"}}}`, n, n)
				if code := s.hook(hookSecret, body); code != 202 && code != 429 {
					t.Errorf("webhook %d: %d", n, code)
				}
			}
		})
	}
	for n := range 10_000 {
		work <- n
	}
	close(work)
	all.Wait()
	until(t, func() bool { return s.hook(hookSecret, f.push("app1", "1.2.0")) == 202 })
	s.sees("msg=round ", "commits=1")
	metrics := s.ask("/metrics")
	var heap float64
	_, after, _ := strings.Cut(metrics, "\ngo_memstats_heap_inuse_bytes ")
	if _, err := fmt.Sscan(after, &heap); err != nil || heap > 48<<20 {
		t.Errorf("the heap has %.0f MiB, %v", heap/(1<<20), err)
	}
	if lines := strings.Count(metrics, "\nimgbump_webhooks_total"); lines > 4 {
		t.Errorf("%d series of webhooks:\n%s", lines, metrics)
	}
	if lines := strings.Count(s.log(), "\n"); lines > 200 {
		t.Errorf("%d lines in the log", lines)
	}
}
