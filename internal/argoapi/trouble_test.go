package argoapi_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/argotest"
	"github.com/ksera524/imgbump/internal/rollout"
)

const (
	crashing = `{"metadata":{"name":"kust-7bf87b6875-g9h8b","namespace":"demo","uid":"u1","ownerReferences":[{"kind":"ReplicaSet","name":"kust-7bf87b6875"}]},
"status":{"phase":"Running","initContainerStatuses":[{"name":"setup","ready":true,"state":{"terminated":{"exitCode":0}}}],
"containerStatuses":[{"name":"proxy","ready":true,"state":{"running":{}}},
{"name":"web","ready":false,"restartCount":4,"state":{"waiting":{"reason":"CrashLoopBackOff","message":"back-off 1m20s"}},"lastState":{"terminated":{"exitCode":1,"reason":"Error"}}}]}}`
	crashed   = "running, container web: CrashLoopBackOff: back-off 1m20s, ended with 1 before: Error, 4 restarts"
	backingOf = `{"items":[{"type":"Normal","reason":"Pulled","message":"pulled","involvedObject":{"kind":"Pod","uid":"u1"}},
{"type":"Warning","reason":"BackOff","message":"Back-off restarting\u001b[2J failed container","count":12,"lastTimestamp":"2026-11-23T04:00:01Z","involvedObject":{"kind":"Pod","uid":"u1"}},
{"type":"Warning","reason":"Unhealthy","message":"probe failed","lastTimestamp":null,"eventTime":"2026-11-23T04:00:02.123456Z","involvedObject":{"kind":"Pod","uid":"u1"}},
{"type":"Warning","reason":"FailedCreate","message":"exceeded quota","involvedObject":{"kind":"ReplicaSet","name":"kust-7bf87b6875"}}]}`
)

// kust is the application of the recorded tree.
func kust() *rollout.Application {
	a := at("main", "Degraded")
	a.Metadata.Name = "kust"
	a.Status.Resources = []rollout.Resource{{Group: "apps", Kind: "Deployment", Namespace: "demo", Name: "kust"}, {Kind: "Deployment", Namespace: "../x", Name: "kust"}}
	return a
}

func TestTroubles(t *testing.T) {
	const below, in = "/api/v1/applications/kust/", "/api/v1/namespaces/demo/"
	tree := string(recorded(t, "08-resource-tree-kust.json"))
	ill := strings.Replace(tree, `"health":{"status":"Healthy"},"createdAt":"2026-11-23T03:46:00Z"}`, `"health":{"status":"Degraded","message":"back-off"},"createdAt":"2026-11-23T03:46:00Z"}`, 1)
	unmade := strings.Replace(tree, `"health":{"status":"Healthy"},"createdAt":"2026-11-23T03:37:51Z"}`, `"health":{"status":"Progressing","message":"Waiting"},"createdAt":"2026-11-23T03:37:51Z"}`, 1)
	if ill == tree || unmade == tree {
		t.Fatal("the recorded tree is another one")
	}
	manifest := fmt.Sprintf(`{"manifest":%q}`, crashing)
	log := `{"result":{"content":"one","last":false}}` + "\n" + `{"result":{"content":"two\u001b[2J https://t0ken@x/"}}` + "\n" + `{"result":{"content":"","last":true}}` + "\n"
	pod := rollout.Trouble{Resource: "Pod/kust-7bf87b6875-g9h8b", State: crashed,
		Events: []string{"BackOff: Back-off restarting [2J failed container (12 times)", "Unhealthy: probe failed"}, Log: []string{"one", "two [2J https://x/"}}
	for _, tt := range []struct {
		name, kind string
		answers    map[string]string
		change     func(*rollout.Application)
		lines      int
		want       []rollout.Trouble
	}{
		{name: "a pod", kind: "rest", lines: 9, want: []rollout.Trouble{pod},
			answers: map[string]string{below + "resource-tree": ill, below + "events": strings.Replace(backingOf, `{"type":"Warning","reason":"FailedCreate"`, `{"type":"Normal","reason":"FailedCreate"`, 1), below + "resource": manifest, below + "logs": log}},
		{name: "one line", kind: "rest", lines: 1, want: []rollout.Trouble{{Resource: pod.Resource, State: crashed, Events: []string{}, Log: pod.Log[1:]}},
			answers: map[string]string{below + "resource-tree": ill, below + "events": `{}`, below + "resource": manifest, below + "logs": log}},
		{name: "no log", kind: "rest", want: []rollout.Trouble{{Resource: pod.Resource, State: crashed}},
			answers: map[string]string{below + "resource-tree": ill, below + "events": `{}`, below + "resource": manifest}},
		{name: "no right to its log", kind: "rest", lines: 9, want: []rollout.Trouble{{Resource: pod.Resource, State: crashed, Note: "its log: not found, or not permitted"}},
			answers: map[string]string{below + "resource-tree": ill, below + "events": `{}`, below + "resource": manifest}},
		{name: "no right to anything", kind: "rest", want: []rollout.Trouble{{Note: "its resources: not found, or not permitted"}}},
		{name: "nonsense", kind: "rest", want: []rollout.Trouble{{Resource: pod.Resource, State: "Degraded back-off", Note: "its state: HOST: it answers with something that was not asked for"}},
			answers: map[string]string{below + "resource-tree": ill, below + "events": `[`, below + "resource": `[`}},
		{name: "no pods", kind: "rest", want: []rollout.Trouble{{Resource: "Deployment/kust", State: "Progressing Waiting", Events: []string{"FailedCreate: exceeded quota", "FailedCreate: exceeded quota"}}},
			answers: map[string]string{below + "resource-tree": unmade, below + "events": `{"items":[{"type":"Warning","reason":"FailedCreate","message":"exceeded quota"}]}`}},
		{name: "all well", kind: "rest", answers: map[string]string{below + "resource-tree": tree}},
		{name: "not applied", kind: "rest", answers: map[string]string{below + "resource-tree": tree}, want: []rollout.Trouble{{Resource: "Deployment/web", State: "is invalid"}},
			change: func(a *rollout.Application) {
				a.Status.OperationState = &rollout.OperationState{}
				a.Status.OperationState.SyncResult.Resources = []rollout.Resource{{Kind: "Deployment", Name: "web", Status: "SyncFailed", Message: "is\ninvalid"}}
			}},

		{name: "a pod", kind: "cluster", lines: 9, want: []rollout.Trouble{pod},
			answers: map[string]string{in + "pods": `{"items":[` + crashing + `,` + strings.ReplaceAll(crashing, "kust-", "other-") + `]}`, in + "events": backingOf, in + "pods/kust-7bf87b6875-g9h8b/log": "one\ntwo\x1b[2J https://t0ken@x/\n"}},
		{name: "no right to its log and events", kind: "cluster", lines: 9, want: []rollout.Trouble{{Resource: pod.Resource, State: crashed, Events: []string{}, Note: `its log: log is forbidden: User "ci" cannot do that`}},
			answers: map[string]string{in + "pods": `{"items":[` + crashing + `]}`}},
		{name: "no right to anything", kind: "cluster", want: []rollout.Trouble{{Note: `its pods: pods is forbidden: User "ci" cannot do that`}}},
		{name: "no pods", kind: "cluster", want: []rollout.Trouble{{Resource: "ReplicaSet/kust-7bf87b6875", Events: []string{"FailedCreate: exceeded quota"}}},
			answers: map[string]string{in + "pods": `{}`, in + "events": backingOf}},
		{name: "a hook", kind: "cluster", want: []rollout.Trouble{{Resource: "Job/migrate", State: "failed"}, {Resource: "Pod/migrate-x", State: "failed, OOM"}},
			answers: map[string]string{in + "pods": `{"items":[{"metadata":{"name":"migrate-x","ownerReferences":[{"kind":"Job","name":"migrate"}]},"status":{"phase":"Failed","reason":"OOM"}}]}`, in + "events": `{}`},
			change: func(a *rollout.Application) {
				a.Status.OperationState = &rollout.OperationState{}
				a.Status.OperationState.SyncResult.Resources = []rollout.Resource{{Kind: "Job", Namespace: "demo", Name: "migrate", Hook: "PreSync", Phase: "Failed", Message: "failed"}}
			}},
		{name: "on another server", kind: "cluster", change: func(a *rollout.Application) { a.Spec.Destination.Server = "https://edge.example.com" },
			want: []rollout.Trouble{{Note: "its resources are in another cluster: Argo CD's own API knows of them"}}},
		{name: "elsewhere", kind: "cluster", change: func(a *rollout.Application) { a.Spec.Destination.Name = "edge" },
			want: []rollout.Trouble{{Note: "its resources are in another cluster: Argo CD's own API knows of them"}}},
	} {
		s := &argotest.Server{Token: token, Answers: tt.answers}
		a := kust()
		if tt.change != nil {
			tt.change(a)
		}
		got := clients(t, s)[tt.kind].Troubles(t.Context(), "kust", a, tt.lines)
		for i := range got {
			if host, text, found := strings.Cut(got[i].Note, "its state: "); found && host == "" {
				_, text, _ = strings.Cut(text, ": ")
				got[i].Note = "its state: HOST: " + text
			}
			if got[i].Events == nil && i < len(tt.want) && tt.want[i].Events != nil {
				got[i].Events = []string{}
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s, %s: -want +got:\n%s", tt.kind, tt.name, diff)
		}
	}
}

// TestEvents reads what the real Argo CD answered: the last few events.
func TestEvents(t *testing.T) {
	s := &argotest.Server{Token: token, Answers: map[string]string{
		"/api/v1/applications/kust/resource-tree": strings.Replace(string(recorded(t, "08-resource-tree-kust.json")), `"health":{"status":"Healthy"}`, `"health":{"status":"Missing"}`, 1),
		"/api/v1/applications/kust/events":        string(recorded(t, "08-events-kust.json")),
	}}
	got := clients(t, s)["rest"].Troubles(t.Context(), "kust", kust(), 3)
	if len(got) != 1 || len(got[0].Events) != 5 || !strings.HasPrefix(got[0].Events[4], "ResourceUpdated: Updated health status: ") {
		t.Errorf("%+v", got)
	}
}

// TestPods says of pods what is wrong with them.
func TestPods(t *testing.T) {
	const in = "/api/v1/namespaces/demo/"
	for status, want := range map[string]string{
		`{"phase":"Pending","containerStatuses":[{"name":"web","state":{"waiting":{"reason":"ImagePullBackOff","message":"Back-off pulling image"}}}]}`:                       "pending, container web: ImagePullBackOff: Back-off pulling image",
		`{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"False","reason":"Unschedulable","message":"0/3 nodes are available"}]}`:                            "pending, Unschedulable: 0/3 nodes are available",
		`{"phase":"Failed","reason":"Evicted","message":"The node was low on memory"}`:                                                                                        "failed, Evicted: The node was low on memory",
		`{"phase":"Running","containerStatuses":[{"name":"web","state":{"running":{}}}]}`:                                                                                     "running, container web is not ready",
		`{"phase":"Failed","containerStatuses":[{"name":"web","state":{"terminated":{"exitCode":137,"reason":"OOMKilled"}}}]}`:                                                "failed, container web: ended with 137: OOMKilled",
		`{"phase":"Pending","initContainerStatuses":[{"name":"migrate","state":{"terminated":{"exitCode":2}}}],"containerStatuses":[{"name":"web"}]}`:                         "pending, container migrate: ended with 2",
		`{"phase":"Running","initContainerStatuses":[{"name":"setup","ready":true,"state":{"terminated":{"exitCode":0}}}],"containerStatuses":[{"name":"web","ready":true}]}`: "",
		`{"phase":"Succeeded","containerStatuses":[{"name":"web","ready":false,"state":{"terminated":{"exitCode":0}}}]}`:                                                      "",
	} {
		s := &argotest.Server{Token: token, Answers: map[string]string{in + "events": `{}`,
			in + "pods": `{"items":[{"metadata":{"name":"kust-1-x","namespace":"demo","ownerReferences":[{"kind":"ReplicaSet","name":"kust-1"}]},"status":` + status + `}]}`}}
		got := clients(t, s)["cluster"].Troubles(t.Context(), "kust", kust(), 9)
		ran := strings.Contains(status, `"running"`) || strings.Contains(status, "exitCode")
		if len(got) == 1 && (got[0].Note != "") != ran { // of what ran, there is no right to see the log
			t.Errorf("%s: %+v", status, got)
		}
		if len(got) > 1 || (want == "") != (len(got) == 0) || want != "" && got[0].State != want {
			t.Errorf("%s: %+v", status, got)
		}
	}
}
