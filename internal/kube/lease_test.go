package kube

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/kubetest"
)

var leaseName = Name{"imgbump", "imgbump-serve"}

// What can happen to a request on its way.
const (
	fine = iota
	refused
	silent // it does not arrive
	mute   // it arrives, its answer does not
	slow   // each way takes up to half a second
	ways
)

// wire is a replica's way to the API server.
type wire struct {
	leases *kubetest.Leases

	mu  sync.Mutex
	way int
}

func (w *wire) set(way int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.way = way
}

func (w *wire) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	way := w.way
	w.mu.Unlock()
	wait := func(d time.Duration) error {
		select {
		case <-time.After(d):
			return nil
		case <-r.Context().Done():
			return r.Context().Err()
		}
	}
	switch way {
	case refused:
		return nil, errors.New("connection refused")
	case silent:
		return nil, wait(time.Hour)
	case slow:
		if err := wait(rand.N(500 * time.Millisecond)); err != nil {
			return nil, err
		}
	}
	recorder := httptest.NewRecorder()
	w.leases.ServeHTTP(recorder, r)
	switch way {
	case mute:
		return nil, wait(time.Hour)
	case slow:
		if err := wait(rand.N(500 * time.Millisecond)); err != nil {
			return nil, err
		}
	}
	return recorder.Result(), nil
}

// stage is where replicas meet. Nobody may lead beside another.
type stage struct {
	t      *testing.T
	leases *kubetest.Leases

	mu      sync.Mutex
	leaders []string
}

// replica is one that runs.
type replica struct {
	Election
	*wire
	stop context.CancelFunc
	done chan struct{}
	log  *strings.Builder

	mu   sync.Mutex
	told []string
}

func (s *stage) start(identity string, change ...func(*Election)) *replica {
	r := &replica{wire: &wire{leases: s.leases}, done: make(chan struct{}), log: &strings.Builder{}}
	r.Election = Election{
		Cluster: &Cluster{server: &url.URL{Scheme: "https", Host: "cluster.test"}, http: &http.Client{Transport: r.wire}},
		Lease:   leaseName, Identity: identity, Address: "http://" + identity + ":8080",
		Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
			if a.Key == slog.TimeKey {
				return slog.Attr{}
			}
			return a
		}})),
	}
	for _, c := range change {
		c(&r.Election)
	}
	ctx, stop := context.WithCancel(s.t.Context())
	r.stop = stop
	go func() {
		defer close(r.done)
		if err := r.Run(ctx, func(leads bool, holder, address string) { s.changed(r, leads, holder, address) }); err != nil {
			s.t.Error(err)
		}
	}()
	return r
}

func (s *stage) changed(r *replica, leads bool, holder, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []string
	for _, l := range s.leaders {
		if l != r.Identity {
			others = append(others, l)
		}
	}
	if s.leaders = others; leads {
		if s.leaders = append(others, r.Identity); len(others) > 0 {
			s.t.Errorf("%v lead at once", s.leaders)
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf("%v %s %s", leads, holder, address))
}

// leader is who leads, "" for nobody.
func (s *stage) leader() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.leaders, "+")
}

const tick = 10 * time.Millisecond

// await lets time pass until somebody leads for whom it is true, and says how much passed.
func (s *stage) await(limit time.Duration, ok func(leader string) bool) time.Duration {
	s.t.Helper()
	began := time.Now()
	for ; !ok(s.leader()); time.Sleep(tick) {
		if time.Since(began) > limit {
			s.t.Fatalf("%q leads after %v", s.leader(), limit)
		}
	}
	return time.Since(began)
}

func (s *stage) stop(replicas ...*replica) {
	for _, r := range replicas {
		r.stop()
		<-r.done
	}
}

func is(name string) func(string) bool  { return func(leader string) bool { return leader == name } }
func not(name string) func(string) bool { return func(leader string) bool { return leader != name } }

// The first replica leads, the second sees where, and takes over at once when the first stops.
func TestElection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, leases: &kubetest.Leases{}}
		a := s.start("a")
		synctest.Wait()
		b := s.start("b")
		time.Sleep(time.Minute)
		s.stop(a)
		if took := s.await(time.Minute, is("b")); took > 2*time.Second+tick {
			t.Errorf("taken over after %v", took)
		}
		s.stop(b)
		for r, want := range map[*replica][]string{
			a: {"false  ", "true a http://a:8080", "false  "},
			b: {"false  ", "false a http://a:8080", "true b http://b:8080", "false  "},
		} {
			if diff := cmp.Diff(want, r.told); diff != "" || r.log.Len() > 0 {
				t.Errorf("%s: %s\n%s", r.Identity, diff, r.log)
			}
		}
	})
}

// What is written is what Kubernetes' own components write, and others' metadata stays.
func TestLeaseObject(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, leases: &kubetest.Leases{}}
		began := time.Now()
		a := s.start("a", func(e *Election) {
			e.now = func() time.Time { return began.Add(1500 * time.Microsecond).In(time.FixedZone("", 9*3600)) }
		})
		synctest.Wait()
		const first = "2000-01-01T00:00:00.001500Z"
		object := func(version string, holder string, seconds, transitions int, annotations map[string]any) map[string]any {
			return map[string]any{
				"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
				"metadata": map[string]any{"name": "imgbump-serve", "namespace": "imgbump", "resourceVersion": version, "annotations": annotations},
				"spec": map[string]any{
					"holderIdentity": holder, "leaseDurationSeconds": float64(seconds), "acquireTime": first, "renewTime": first, "leaseTransitions": float64(transitions),
				},
			}
		}
		same := func(want map[string]any) {
			t.Helper()
			if diff := cmp.Diff(want, s.leases.Lease("imgbump", "imgbump-serve")); diff != "" {
				t.Error(diff)
			}
		}
		same(object("1", "a", 15, 0, map[string]any{"imgbump/address": "http://a:8080"}))
		s.stop(a)
		same(object("2", "", 1, 0, map[string]any{}))

		declared := map[string]any{
			"metadata": map[string]any{"labels": map[string]any{"app": "imgbump"}, "annotations": map[string]any{"argocd.argoproj.io/tracking-id": "x"}, "generation": 7},
			"spec":     map[string]any{"holderIdentity": nil},
		}
		s.leases.Set("imgbump", "imgbump-serve", declared)
		b := s.start("b")
		synctest.Wait()
		got := s.leases.Lease("imgbump", "imgbump-serve")
		want := map[string]any{
			"name": "imgbump-serve", "namespace": "imgbump", "resourceVersion": "4", "generation": 7.0, "labels": map[string]any{"app": "imgbump"},
			"annotations": map[string]any{"argocd.argoproj.io/tracking-id": "x", "imgbump/address": "http://b:8080"},
		}
		if diff := cmp.Diff(want, got["metadata"]); diff != "" {
			t.Error(diff)
		}
		if spec := got["spec"].(map[string]any); spec["holderIdentity"] != "b" || spec["leaseTransitions"] != 1.0 {
			t.Error(spec)
		}
		s.stop(b)
	})
}

// A leader that nothing is heard of is followed after the Lease's duration, whatever the clocks show; it stops before.
func TestLeaderCutOff(t *testing.T) {
	for name, way := range map[string]int{"refused": refused, "silent": silent, "mute": mute} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &stage{t: t, leases: &kubetest.Leases{}}
				skewed := func(d time.Duration) func(*Election) {
					return func(e *Election) { e.now = func() time.Time { return time.Now().Add(d) } }
				}
				thrice := func(e *Election) { e.Retry = 3 * time.Second } // ten is no multiple of
				a := s.start("a", skewed(-time.Hour), thrice)
				time.Sleep(time.Second)
				b := s.start("b", skewed(time.Hour), thrice)
				time.Sleep(5*time.Minute + time.Second)
				a.set(way)
				cut := time.Now()
				if took := s.await(time.Minute, is("")); took > 10*time.Second+tick {
					t.Errorf("leads for %v", took)
				}
				s.await(time.Minute, is("b"))
				limit := 15*time.Second + 3*time.Second + tick
				if way == mute { // a renewal has come after the cut
					limit += 3 * time.Second
				}
				if took := time.Since(cut); took > limit {
					t.Errorf("followed after %v", took)
				}
				a.set(fine)
				time.Sleep(time.Minute)
				if s.leader() != "b" {
					t.Errorf("%q leads", s.leader())
				}
				s.stop(a, b)
			})
		})
	}
}

// Within the Lease's duration and one look, somebody leads in place of a leader that crashed.
func TestLeaderCrashes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, leases: &kubetest.Leases{}}
		a := s.start("a")
		synctest.Wait()
		b := s.start("b")
		time.Sleep(rand.N(2 * time.Second))
		c := s.start("c")
		for range 20 {
			time.Sleep(time.Minute + rand.N(2*time.Second))
			crashed := a
			crashed.set(refused)
			s.stop(crashed)
			if took := s.await(time.Minute, not("")); took < 13*time.Second || took > 17*time.Second+tick {
				t.Errorf("%s leads after %v", s.leader(), took)
			}
			if a, b = b, c; s.leader() == b.Identity {
				a, b = b, a
			}
			time.Sleep(rand.N(2 * time.Second))
			c = s.start(crashed.Identity)
		}
		s.stop(a, b, c)
	})
}

// One that starts anew under the same name goes on at once.
func TestLeaderRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, leases: &kubetest.Leases{}}
		a := s.start("a")
		time.Sleep(time.Minute)
		a.set(refused)
		s.stop(a)
		a = s.start("a")
		synctest.Wait()
		if s.leader() != "a" {
			t.Errorf("%q leads", s.leader())
		}
		s.stop(a)
	})
}

// Who is overruled, by an administrator or because the Lease went, is so with the next look.
func TestOverruled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, leases: &kubetest.Leases{}}
		a := s.start("a")
		time.Sleep(time.Minute + time.Second)
		s.leases.Set("imgbump", "imgbump-serve", map[string]any{"spec": map[string]any{"holderIdentity": "x", "leaseDurationSeconds": 30}})
		if took := s.await(time.Minute, is("")); took > 2*time.Second+tick {
			t.Errorf("overruled after %v", took)
		}
		if took := s.await(time.Minute, is("a")); took < 30*time.Second-tick || took > 30*time.Second+tick {
			t.Errorf("leads again after %v", took)
		}
		s.leases.Set("imgbump", "imgbump-serve", map[string]any{"spec": map[string]any{"holderIdentity": "x"}}) // for no time that is said
		s.await(time.Minute, is(""))
		if took := s.await(time.Minute, is("a")); took < 15*time.Second-tick || took > 15*time.Second+tick {
			t.Errorf("leads again after %v", took)
		}
		s.leases.Set("imgbump", "imgbump-serve", nil)
		time.Sleep(3 * time.Second)
		if s.leader() != "a" || s.leases.Lease("imgbump", "imgbump-serve") == nil {
			t.Errorf("%q leads by %v", s.leader(), s.leases.Lease("imgbump", "imgbump-serve"))
		}
		s.stop(a)
	})
}

// One request that is lost, and a connection that hangs for a while, cost nobody the lead.
func TestLeaderKeepsOn(t *testing.T) {
	for _, way := range []int{refused, silent, mute} {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{t: t, leases: &kubetest.Leases{}}
			a := s.start("a")
			time.Sleep(time.Minute + time.Second)
			a.set(way)
			time.Sleep(2 * time.Second)
			a.set(fine)
			time.Sleep(time.Minute)
			s.stop(a)
			if want := []string{"false  ", "true a http://a:8080", "false  "}; !cmp.Equal(want, a.told) {
				t.Errorf("%d: %q", way, a.told)
			}
		})
	}
}

// Who stops gives away what he has, and nothing else, and does not wait for a server that is silent.
func TestResign(t *testing.T) {
	change := func(do func(spec map[string]any)) func(*stage, *replica) {
		return func(s *stage, _ *replica) {
			object := touched(s.leases.Lease("imgbump", "imgbump-serve"))
			do(object["spec"].(map[string]any))
			s.leases.Set("imgbump", "imgbump-serve", object)
		}
	}
	for name, tt := range map[string]struct {
		before func(*stage, *replica)
		holder string
		took   time.Duration
	}{
		"touched":   {change(func(map[string]any) {}), "", 0},
		"overruled": {change(func(spec map[string]any) { spec["holderIdentity"] = "x" }), "x", 0},
		"silent":    {func(_ *stage, r *replica) { r.set(silent) }, "a", 5 * time.Second},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &stage{t: t, leases: &kubetest.Leases{}}
			a := s.start("a")
			time.Sleep(time.Minute + time.Second)
			tt.before(s, a)
			began := time.Now()
			s.stop(a)
			spec := s.leases.Lease("imgbump", "imgbump-serve")["spec"].(map[string]any)
			if took := time.Since(began); took != tt.took || spec["holderIdentity"] != tt.holder {
				t.Errorf("%s: after %v %v", name, took, spec)
			}
		})
	}
}

// What somebody wrote by hand is no obstacle.
func TestStrangeLease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, leases: &kubetest.Leases{}}
		s.leases.Set("imgbump", "imgbump-serve", map[string]any{"spec": map[string]any{"holderIdentity": "a"}, "metadata": map[string]any{"annotations": nil}})
		a := s.start("a")
		synctest.Wait()
		if s.leader() != "a" {
			t.Errorf("%q leads: %s", s.leader(), a.log)
		}
		s.stop(a)
	})
	c := &candidate{Election: Election{Identity: "a"}, at: "http://old", changed: func(leads bool, holder, address string) {
		if leads || holder+address != "" {
			t.Errorf("%v %q %q", leads, holder, address)
		}
	}}
	c.tell()
	for seconds, want := range map[int]time.Duration{15: 15 * time.Second, math.MaxInt: time.Hour, math.MaxInt / int(time.Second): time.Hour} {
		if got := (leaseSpec{Seconds: seconds}).duration(); got != want {
			t.Errorf("%d: %v", seconds, got)
		}
	}
}

// Whatever happens to replicas and their ways, and though their clocks do not run alike, no two lead at once; and when all is
// well again, somebody does.
func TestElectionProperty(t *testing.T) {
	for seed := range uint64(15) {
		synctest.Test(t, func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			s := &stage{t: t, leases: &kubetest.Leases{}}
			run := func(i int) *replica {
				return s.start(string(rune('a'+i)), func(e *Election) {
					offset := time.Duration(random.Int64N(int64(time.Hour))) - 30*time.Minute
					e.now = func() time.Time { return time.Now().Add(offset) }
					e.Renew = 8*time.Second + time.Duration(random.Int64N(int64(4*time.Second))) // ten, by clocks a fifth off
					e.Retry = time.Second + time.Duration(random.Int64N(int64(2*time.Second)))
				})
			}
			var replicas []*replica
			for i := range 5 {
				replicas = append(replicas, run(i))
			}
			for range 100 {
				i := random.IntN(len(replicas))
				switch random.IntN(10) {
				case 0:
					s.stop(replicas[i])
					replicas[i] = run(i)
				case 1:
					replicas[i].set(refused)
					s.stop(replicas[i])
					replicas[i] = run(i)
				case 2:
					s.leases.Set("imgbump", "imgbump-serve", touched(s.leases.Lease("imgbump", "imgbump-serve")))
				default:
					replicas[i].set(random.IntN(ways))
				}
				time.Sleep(time.Duration(random.Int64N(int64(8 * time.Second))))
			}
			for _, r := range replicas {
				r.set(fine)
			}
			s.await(15*time.Second+3*time.Second+6*time.Second, not("")) // the last is a request that nothing was heard of
			s.stop(replicas...)
		})
	}
}

// touched is the object with a change that is nobody's business.
func touched(object map[string]any) map[string]any {
	if object != nil {
		object["metadata"].(map[string]any)["labels"] = map[string]any{"touched": "yes"}
	}
	return object
}

// Trouble is logged once, with what to do, and when it is over.
func TestElectionLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &stage{t: t, leases: &kubetest.Leases{}}
		a := s.start("a")
		time.Sleep(time.Minute)
		a.set(refused)
		time.Sleep(time.Minute)
		a.set(silent)
		time.Sleep(time.Minute)
		a.set(fine)
		time.Sleep(time.Minute)
		s.stop(a)
		const want = `level=WARN msg="the Lease is out of reach" lease=imgbump/imgbump-serve error="renew lease imgbump/imgbump-serve: reach the API server cluster.test: connection refused"
level=WARN msg="the Lease is out of reach" lease=imgbump/imgbump-serve error="read lease imgbump/imgbump-serve: reach the API server cluster.test: connection refused"
level=WARN msg="the Lease is out of reach" lease=imgbump/imgbump-serve error="read lease imgbump/imgbump-serve: no answer from the API server cluster.test in time"
level=INFO msg="the Lease is within reach again" lease=imgbump/imgbump-serve
`
		var lines []string
		for line := range strings.Lines(a.log.String()) {
			before, _, hinted := strings.Cut(line, " hint=")
			if lines = append(lines, strings.TrimSuffix(before, "\n")+"\n"); !hinted && strings.Contains(line, "WARN") {
				t.Errorf("no hint: %s", line)
			}
		}
		if diff := cmp.Diff(want, strings.Join(lines, "")); diff != "" {
			t.Error(diff)
		}
	})
}

func TestElectionUsage(t *testing.T) {
	good := Election{Lease: leaseName, Identity: "a"}
	for part, change := range map[string]func(*Election){
		"no NAMESPACE/NAME": func(e *Election) { e.Lease.Namespace = "../x" },
		"needs an identity": func(e *Election) { e.Identity = "" },
		"renewed for 15s":   func(e *Election) { e.Renew = 15 * time.Second },
		"every 10s":         func(e *Election) { e.Retry = 10 * time.Second },
		"A Lease of 1.5s":   func(e *Election) { e.Duration, e.Renew, e.Retry = 1500*time.Millisecond, time.Second, 1 },
		"every -1s":         func(e *Election) { e.Retry = -time.Second },
	} {
		e := good
		change(&e)
		err := e.Run(t.Context(), func(bool, string, string) { t.Error("runs") })
		if fault.KindOf(err) != fault.Usage || !strings.Contains(strings.ToLower(err.Error()), strings.ToLower(part)) || fault.HintOf(err) == "" {
			t.Errorf("%v, want %q", err, part)
		}
	}
}

// TestLeaseRefused holds what people are told when the API server says no, over a real connection.
func TestLeaseRefused(t *testing.T) {
	says := func(code int, body string) func(http.ResponseWriter, *http.Request) bool {
		return func(w http.ResponseWriter, r *http.Request) bool {
			w.WriteHeader(code)
			io.WriteString(w, body)
			return true
		}
	}
	missing := func(code int, message string) string {
		raw, _ := json.Marshal(map[string]any{"kind": "Status", "code": code, "message": message})
		return string(raw)
	}
	for name, tt := range map[string]struct {
		may     []string
		instead func(http.ResponseWriter, *http.Request) bool
		token   string
		kind    fault.Kind
		part    string
		hints   []string
	}{
		"forbidden to read": {kind: fault.Denied, part: "read lease imgbump/imgbump-serve: system:serviceaccount:imgbump:serve may not: a Role is missing",
			hints: []string{"metadata: {namespace: imgbump, name: lead-imgbump-serve}", "resourceNames: [imgbump-serve]\n  verbs: [get, update]", "verbs: [create]",
				"- {kind: ServiceAccount, namespace: imgbump, name: serve}"}},
		"forbidden to make": {may: []string{"imgbump/imgbump-serve"}, kind: fault.Denied, part: "renew lease imgbump/imgbump-serve: system:serviceaccount:imgbump:serve may not"},
		"wrong login":       {token: "wr0ngToken", kind: fault.Denied, part: "does not accept our login"},
		"no namespace": {instead: func(w http.ResponseWriter, r *http.Request) bool {
			if r.Method == http.MethodPost {
				return says(http.StatusNotFound, missing(404, `namespaces "imgbump" not found`))(w, r)
			}
			return false
		}, may: []string{"imgbump/imgbump-serve", "imgbump/*"}, part: "the cluster has no namespace imgbump", hints: []string{"kubectl create namespace imgbump"}},
		"a web page":    {instead: says(http.StatusOK, "<html>"), part: "not as an API server does"},
		"not a version": {instead: says(http.StatusOK, `{"kind":"Lease","metadata":{"name":"x"}}`), part: "not as an API server does"},
		"ill":           {instead: says(http.StatusInternalServerError, missing(500, "etcdserver: request timed out")), part: "answers 500: etcdserver: request timed out"},
	} {
		t.Run(name, func(t *testing.T) {
			s := start(t, kubetest.Config{Instead: tt.instead, Leases: &kubetest.Leases{},
				Accounts: []kubetest.Account{{User: "system:serviceaccount:imgbump:serve", Token: token, May: tt.may}}})
			if tt.token == "" {
				tt.token = token
			}
			cluster, err := Open(environment(map[string]string{"KUBECONFIG": filepath.Join(write(t, map[string]string{"config": s.Kubeconfig(tt.token)}), "config")}), "test/1")
			if err != nil {
				t.Fatal(err)
			}
			c := &candidate{Election: Election{Cluster: cluster, Lease: leaseName, Identity: "a", Duration: 15 * time.Second, Renew: 10 * time.Second, now: time.Now}}
			check(t, c.attempt(t.Context()), tt.kind, tt.part, tt.hints...)
			if c.leads() {
				t.Error("leads")
			}
		})
	}
}

// The whole of it over a real connection.
func TestElectionConnected(t *testing.T) {
	leases := &kubetest.Leases{}
	s := start(t, kubetest.Config{Leases: leases,
		Accounts: []kubetest.Account{{User: "system:serviceaccount:imgbump:serve", Token: token, May: []string{"imgbump/imgbump-serve", "imgbump/*"}}}})
	cluster, err := Open(environment(map[string]string{"KUBECONFIG": filepath.Join(write(t, map[string]string{"config": s.Kubeconfig(token)}), "config")}), "test/1")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var told []bool
	err = Election{Cluster: cluster, Lease: leaseName, Identity: "a", Log: slog.New(slog.DiscardHandler)}.Run(ctx, func(leads bool, _, _ string) {
		if told = append(told, leads); leads {
			stop()
		}
	})
	if diff := cmp.Diff([]bool{false, true, false}, told); err != nil || diff != "" {
		t.Errorf("%v %s", err, diff)
	}
	if spec := leases.Lease("imgbump", "imgbump-serve")["spec"].(map[string]any); spec["holderIdentity"] != "" {
		t.Errorf("not released: %v", spec)
	}
}
