package webhook_test

import (
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/webhook"
)

const one = "sha256:7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"

// event is the event of an image; at is RFC 3339, "" for none.
func event(t *testing.T, image, at string) webhook.Event {
	t.Helper()
	e := webhook.Event{Image: parsed(t, image)}
	if at != "" {
		var err error
		if e.At, err = time.Parse(time.RFC3339, at); err != nil {
			t.Fatal(err)
		}
	}
	return e
}

// in2027 is a test when all that was recorded is past.
func in2027(test func(*testing.T)) func(*testing.T) {
	return func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Until(time.Date(2027, 1, 1, 0, 0, 0, 0, time.UTC)))
			test(t)
		})
	}
}

// The files of Harbor are what Harbor 2 sent; the others have the shape that the vendors document.
func TestPayloads(t *testing.T) {
	hook := "127.0.0.1:18080/sandbox/x:hook@sha256:a8408b584c13dd72313cd6528bb9a8f91bacb57cf67537619bb89ef217611582"
	github := func(event string) http.Header { return http.Header{"X-Github-Event": {event}} }
	for _, tt := range []struct {
		kind   webhook.Kind
		file   string
		header http.Header
		query  string
		want   []webhook.Event
	}{
		{kind: webhook.Harbor, file: "harbor/push-artifact.json", want: []webhook.Event{event(t, hook, "2026-11-23T02:09:52Z")}},
		{kind: webhook.Harbor, file: "harbor/cloudevents.json", want: []webhook.Event{event(t, hook, "2026-11-23T02:09:52Z")}},
		{kind: webhook.CloudEvents, file: "harbor/cloudevents.json", want: []webhook.Event{event(t, hook, "2026-11-23T02:09:52Z")}},
		{kind: webhook.Harbor, file: "harbor/push-child.json", want: []webhook.Event{event(t, "harbor.example.com/shop/api@"+one, "2026-11-23T02:13:10Z")}},
		{kind: webhook.Harbor, file: "harbor/pull-artifact.json"},
		{kind: webhook.Harbor, file: "harbor/delete-artifact.json"},
		{kind: webhook.Harbor, file: "harbor/quota-exceed.json"},
		{kind: webhook.Harbor, file: "harbor/scanning-completed.json"},
		{kind: webhook.DockerHub, file: "docker.io/push.json", want: []webhook.Event{event(t, "docker.io/example/api:1.4.0", "2026-11-23T02:09:52Z")}},
		{kind: webhook.GHCR, file: "ghcr.io/package.json", header: github("package"), want: []webhook.Event{event(t, "ghcr.io/exampleorg/shop/api:v1.4.0@"+one, "")}},
		{kind: webhook.GHCR, file: "ghcr.io/registry-package-untagged.json", header: github("registry_package"), want: []webhook.Event{event(t, "ghcr.io/exampleorg/shop/api@"+one, "")}},
		{kind: webhook.GHCR, file: "ghcr.io/ping.json", header: github("ping")},
		{kind: webhook.GHCR, file: "ghcr.io/npm.json", header: github("package")},
		{kind: webhook.Quay, file: "quay.io/push.json", want: []webhook.Event{event(t, "quay.example.com/example/api:1.4.0", ""), event(t, "quay.example.com/example/api:latest", "")}},
		{kind: webhook.Quay, file: "quay.io/build-queued.json"},
		{kind: webhook.ACR, file: "acr/push.json", want: []webhook.Event{event(t, "example.azurecr.io/shop/api:v1@"+one, "2026-11-17T16:52:01.343145347Z")}},
		{kind: webhook.ACR, file: "acr/delete.json"},
		{kind: webhook.ACR, file: "acr/chart-push.json"},
		{kind: webhook.Aliyun, file: "aliyun-acr/push.json", want: []webhook.Event{event(t, "registry.cn-hangzhou.aliyuncs.com/shop/api:v1@"+one, "")}},
		{kind: webhook.Aliyun, file: "aliyun-acr/push.json", query: "&registry_url=https://shop-registry.cn-hangzhou.cr.aliyuncs.com", want: []webhook.Event{event(t, "shop-registry.cn-hangzhou.cr.aliyuncs.com/shop/api:v1@"+one, "")}},
		{kind: webhook.CloudEvents, file: "cloudevents/ecr.json", want: []webhook.Event{event(t, "123456789012.dkr.ecr.us-west-2.amazonaws.com/shop/api:1.4.0@"+one, "2026-11-16T01:54:34Z")}},
		{kind: webhook.CloudEvents, file: "cloudevents/eventbridge.json", want: []webhook.Event{event(t, "123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn/shop/api:1.4.0@"+one, "2026-11-16T01:54:34Z")}},
		{kind: webhook.CloudEvents, file: "cloudevents/eventbridge-delete.json"},
		{kind: webhook.CloudEvents, file: "cloudevents/eventgrid.json", want: []webhook.Event{event(t, "example.azurecr.io/shop/api:v1@"+one, "2026-11-17T16:52:01.343145347Z")}},
		{kind: webhook.CloudEvents, file: "cloudevents/generic.json", want: []webhook.Event{event(t, "registry.example.com/shop/api:1.4.0@"+one, "")}},
		{kind: webhook.CloudEvents, file: "cloudevents/other.json"},
		{kind: webhook.Distribution, file: "distribution/envelope.json", want: []webhook.Event{event(t, "registry.example.com:5000/shop/api:1.4.0@"+one, "2026-11-09T22:44:27Z")}},
		{kind: webhook.GitLab, file: "distribution/envelope.json", want: []webhook.Event{event(t, "registry.example.com:5000/shop/api:1.4.0@"+one, "2026-11-09T22:44:27Z")}},
	} {
		t.Run(string(tt.kind)+" "+filepath.Base(tt.file), in2027(func(t *testing.T) {
			rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{tt.kind}})
			got := rc.post("/webhook?type="+string(tt.kind)+tt.query, tt.header, read(t, tt.file))
			status, outcome := http.StatusAccepted, webhook.Accepted
			if tt.want == nil {
				status, outcome = http.StatusOK, webhook.Ignored
			}
			if got.Code != status || rc.outcome() != outcome {
				t.Errorf("status %d, outcome %q: %s", got.Code, rc.outcome(), got.Body)
			}
			if diff := cmp.Diff(tt.want, rc.events); diff != "" {
				t.Errorf("events (-want +got):\n%s", diff)
			}
		}))
	}
}

// The attributes of a CloudEvent may be in the header, and several may come at once.
func TestCloudEventsModes(t *testing.T) {
	want := event(t, "registry.example.com/shop/api:2", "2026-11-16T01:54:34Z")
	for name, tt := range map[string]struct {
		header http.Header
		body   string
		events int
	}{
		"binary": {
			header: http.Header{"Content-Type": {"application/json"}, "Ce-Specversion": {"1.0"}, "Ce-Id": {"1"}, "Ce-Type": {"com.example.container.pushed"},
				"Ce-Source": {"registry.example.com"}, "Ce-Subject": {"shop/api:2"}, "Ce-Time": {"2026-11-16T01:54:34Z"}},
			body: `{}`, events: 1,
		},
		"batch": {
			header: http.Header{"Content-Type": {"application/cloudevents-batch+json; charset=utf-8"}},
			body: `[{"specversion":"1.0","id":"1","type":"image.pushed","source":"x","time":"2026-11-16T01:54:34Z","data":{"registry":"registry.example.com","repository":"shop/api","tag":"2"}},
				{"specversion":"1.0","id":"2","type":"image.deleted","source":"x","data":{"registry":"registry.example.com","repository":"shop/api","tag":"2"}},
				{"specversion":"1.0","id":"3","type":"image.pushed","source":"x","time":"2026-11-16T01:54:34Z","data":{"registryUrl":"https://registry.example.com/v2/","repositoryName":"shop/api","imageTag":"2"}}]`,
			events: 2,
		},
	} {
		t.Run(name, in2027(func(t *testing.T) {
			rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{webhook.CloudEvents}})
			if got := rc.post("/webhook/cloudevents", tt.header, []byte(tt.body)); got.Code != http.StatusAccepted {
				t.Fatalf("status %d: %s", got.Code, got.Body)
			}
			if len(rc.events) != tt.events {
				t.Fatalf("%d events", len(rc.events))
			}
			for _, got := range rc.events {
				if diff := cmp.Diff(want, got); diff != "" {
					t.Error(diff)
				}
			}
		}))
	}
}

// What is garbage is refused without being repeated; what is unknown to us, but well-formed, is not.
func TestMalformed(t *testing.T) {
	github := http.Header{"X-Github-Event": {"package"}}
	for _, tt := range []struct {
		kind   webhook.Kind
		header http.Header
		body   string
		want   int
	}{
		{webhook.Harbor, nil, "S3NSITIVE", http.StatusBadRequest},
		{webhook.Harbor, nil, `{"type":3,"x":"S3NSITIVE"}`, http.StatusBadRequest},
		{webhook.Harbor, nil, `{"S3NSITIVE":1}`, http.StatusBadRequest},
		{webhook.Harbor, nil, `[]`, http.StatusBadRequest},
		{webhook.Harbor, nil, `{"type":"PUSH_ARTIFACT"}`, http.StatusBadRequest},
		{webhook.Harbor, nil, `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"S3NSITIVE"}],"repository":{}}}`, http.StatusBadRequest},
		{webhook.Harbor, nil, `{"type":"PUSH_ARTIFACT","occur_at":53e999,"event_data":{}}`, http.StatusBadRequest},
		{webhook.DockerHub, nil, `{"push_data":{"tag":"S3NSITIVE"}}`, http.StatusBadRequest},
		{webhook.DockerHub, nil, `{"repository":{"repo_name":"S3NSITIVE/b"}}`, http.StatusOK},
		{webhook.DockerHub, nil, ``, http.StatusBadRequest},
		{webhook.GHCR, nil, `{}`, http.StatusBadRequest},
		{webhook.GHCR, github, `payload=%7B%zz`, http.StatusBadRequest},
		{webhook.GHCR, github, `{"action":"published","package":{"package_type":"container"}}`, http.StatusBadRequest},
		{webhook.GHCR, github, `{"action":"deleted","package":{"package_type":"container"}}`, http.StatusOK},
		{webhook.Quay, nil, `{"updated_tags":["S3NSITIVE"]}`, http.StatusBadRequest},
		{webhook.Quay, nil, `{"repository":"a/b","updated_tags":"S3NSITIVE"}`, http.StatusBadRequest},
		{webhook.ACR, nil, `{"target":{"repository":"S3NSITIVE"}}`, http.StatusBadRequest},
		{webhook.ACR, nil, `{"action":"push","target":{"tag":"S3NSITIVE"}}`, http.StatusBadRequest},
		{webhook.Aliyun, nil, `{"push_data":{"tag":"S3NSITIVE"}}`, http.StatusBadRequest},
		{webhook.Distribution, nil, `{"S3NSITIVE":[]}`, http.StatusBadRequest},
		{webhook.Distribution, nil, `{"events":[]}`, http.StatusOK},
		{webhook.CloudEvents, nil, `{"type":"image.pushed"}`, http.StatusBadRequest},
		{webhook.CloudEvents, nil, `{"specversion":"1.0","type":"image.pushed","data":{"tag":"S3NSITIVE"}}`, http.StatusBadRequest},
		{webhook.CloudEvents, nil, `{"specversion":"1.0","type":"image.pushed","data":"S3NSITIVE"}`, http.StatusBadRequest},
		{webhook.CloudEvents, nil, `{"specversion":"1.0","type":"image.pushed","subject":"S3NSITIVE/b:1"}`, http.StatusBadRequest},
		// A registry without a name that an image can have, and a tag that is none: nothing that a sender could do better.
		{webhook.Harbor, nil, `{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"1","resource_url":"core/a/b:1"}],"repository":{"repo_full_name":"a/b"}}}`, http.StatusAccepted},
		{webhook.DockerHub, nil, `{"push_data":{"tag":"../S3NSITIVE"},"repository":{"repo_name":"a/b"}}`, http.StatusAccepted},
	} {
		t.Run(string(tt.kind)+" "+tt.body, func(t *testing.T) {
			rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{tt.kind}})
			got := rc.post("/webhook/"+string(tt.kind), tt.header, []byte(tt.body))
			if got.Code != tt.want {
				t.Errorf("status %d: %s", got.Code, got.Body)
			}
			want := map[int]string{http.StatusBadRequest: webhook.Malformed, http.StatusOK: webhook.Ignored, http.StatusAccepted: webhook.Unknown}[tt.want]
			if rc.outcome() != want || len(rc.events) > 0 {
				t.Errorf("outcome %q, events %v", rc.outcome(), rc.events)
			}
			rc.holds("S3NSITIVE", got)
			rc.holds("53e999", got)
		})
	}
}

// A mebibyte of small things is not made into a hundred: lists are read as far as one may be long.
func TestLongLists(t *testing.T) {
	many := func(text string, n int) string { return strings.Repeat(text+",", n) + text }
	nested := `{"specversion":"1.0","type":"harbor.artifact.pushed","data":{"repository":{"repo_full_name":"a/b"},"resources":[` + many("{}", 900) + `]}}`
	for kind, text := range map[webhook.Kind]string{
		webhook.Harbor:       `{"type":"PUSH_ARTIFACT","event_data":{"repository":{"repo_full_name":"a/b"},"resources":[` + many("{}", 300_000) + `]}}`,
		webhook.Quay:         `{"repository":"a/b","updated_tags":[` + many(`""`, 300_000) + `]}`,
		webhook.Distribution: `{"events":[` + many("{}", 300_000) + `]}`,
		webhook.CloudEvents:  `[` + many("{}", 300_000) + `]`,
		webhook.ACR:          `{"action":"push"}`, // has no list
		webhook.GitLab:       `{"events":[` + many("{}", 999) + `]}`,
	} {
		rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{kind}})
		long := len(text) > 500_000
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		got := rc.post("/webhook/"+string(kind), nil, []byte(text))
		runtime.ReadMemStats(&after)
		if long != strings.Contains(got.Body.String(), "more than 1000") || long != (got.Code == http.StatusBadRequest) {
			t.Errorf("%s: %d %s", kind, got.Code, got.Body)
		}
		if took := (after.TotalAlloc - before.TotalAlloc) >> 20; took > 12 {
			t.Errorf("%s: %d MiB for a body of %d KiB", kind, took, len(text)>>10)
		}
	}
	rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{webhook.CloudEvents}})
	if got := rc.post("/webhook/cloudevents", nil, []byte(`[`+many(nested, 3)+`]`)); got.Code != http.StatusBadRequest {
		t.Errorf("lists in a list: %d %s", got.Code, got.Body)
	}
}

// Where the full name is missing, the parts are taken.
func TestNameInParts(t *testing.T) {
	for kind, tt := range map[webhook.Kind][2]string{
		webhook.Harbor:    {`{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"1","resource_url":"example.com/a/b:1"}],"repository":{"namespace":"a","name":"b"}}}`, "example.com/a/b:1"},
		webhook.DockerHub: {`{"push_data":{"tag":"1"},"repository":{"name":"nginx"}}`, "docker.io/nginx:1"},
		webhook.Aliyun:    {`{"push_data":{"tag":"1"},"repository":{"namespace":"a","name":"b","region":"cn-beijing"}}`, "registry.cn-beijing.aliyuncs.com/a/b:1"},
	} {
		rc := newReceiver(t, webhook.Options{Open: []webhook.Kind{kind}})
		rc.post("/webhook/"+string(kind), nil, []byte(tt[0]))
		if len(rc.events) != 1 || rc.events[0].Image.String() != tt[1] {
			t.Errorf("%s: %v", kind, rc.events)
		}
	}
}

// A host that only the registry knows itself by is told apart by its port, and letters do not matter.
func TestAliases(t *testing.T) {
	rc := newReceiver(t, webhook.Options{
		Open:    []webhook.Kind{webhook.Harbor},
		Aliases: map[string]string{"127.0.0.1:18080": "harbor.example.com", "Core": "Harbor.example.com:8443"},
	})
	rc.post("/webhook/harbor", nil, read(t, "harbor/push-artifact.json"))
	rc.post("/webhook/harbor", nil, []byte(`{"type":"PUSH_ARTIFACT","event_data":{"resources":[{"tag":"1","resource_url":"CORE/a/b:1"}],"repository":{"repo_full_name":"a/b"}}}`))
	var got []string
	for _, e := range rc.events {
		got = append(got, e.Image.Name())
	}
	if diff := cmp.Diff([]string{"harbor.example.com/sandbox/x", "harbor.example.com:8443/a/b"}, got); diff != "" {
		t.Error(diff)
	}
}

func read(t *testing.T, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return body
}
