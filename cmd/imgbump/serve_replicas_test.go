package main

import (
	"bufio"
	"encoding/json"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/kubetest"
)

// replica starts one that takes part in the election.
func (f *fleet) replica(kubeconfig, name string) *serving {
	f.t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		f.t.Fatal(err)
	}
	address := listener.Addr().String()
	listener.Close()
	return f.begin("--repo", f.repository.URL, "--branch", "main", "--listen", address,
		"--lease", "imgbump/imgbump", "--identity", name, "--address", "http://"+address, "KUBECONFIG="+kubeconfig)
}

// One of two replicas writes. The other one hands on what it is asked, and takes over when the first one stops.
func TestServeReplicas(t *testing.T) {
	f := newFleet(t, 3)
	cluster := kubetest.New(kubetest.Config{
		Leases:   &kubetest.Leases{},
		Accounts: []kubetest.Account{{User: "system:serviceaccount:imgbump:imgbump", Token: "T0kenOfTheUpdater", May: []string{"imgbump/imgbump", "imgbump/*"}}},
	})
	t.Cleanup(cluster.Close)
	kubeconfig := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(kubeconfig, []byte(cluster.Kubeconfig("T0kenOfTheUpdater")), 0o600); err != nil {
		t.Fatal(err)
	}
	first := f.replica(kubeconfig, "imgbump-a")
	first.sees("msg=round ", "images=all")
	second := f.replica(kubeconfig, "imgbump-b")
	second.sees("standing by", "leader=imgbump-a")

	live, err := http.Get(second.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer live.Body.Close()
	events := bufio.NewScanner(live.Body)
	next := func() string {
		for events.Scan() {
			if data, ok := strings.CutPrefix(events.Text(), "data: "); ok {
				return data
			}
		}
		t.Fatal("live updates ended")
		return ""
	}
	before := next()
	if code := second.hook(hookSecret, f.push("app1", "1.2.0")); code/100 != 2 {
		t.Fatalf("a webhook to the standby: %d", code)
	}
	first.sees("msg=round ", "commits=1")
	if after := next(); after == before {
		t.Errorf("what is live through the standby stays %s", after)
	}
	for name, s := range map[string]*serving{"first": first, "second": second} {
		var d serveDocument
		if err := json.Unmarshal([]byte(s.ask("/status.json")), &d); err != nil || !d.Leader || len(d.Targets[0].Commits) != 1 {
			t.Errorf("what the leader knows is not what %s shows: %v, %+v", name, err, d)
		}
	}
	if metrics := second.ask("/metrics"); !strings.Contains(metrics, "imgbump_leader 0\n") {
		t.Errorf("the standby's own metrics:\n%s", metrics)
	}
	if code := first.stop(); code != 0 {
		t.Errorf("it ended with %d\n%s", code, first.log())
	}
	second.sees("msg=round ", "images=all")
	if code := second.hook(hookSecret, f.push("app2", "1.3.0")); code/100 != 2 {
		t.Fatalf("a webhook: %d", code)
	}
	second.sees("msg=round ", "commits=1")
	f.isCurrent()
	if code := second.stop(); code != 0 {
		t.Errorf("it ended with %d\n%s", code, second.log())
	}
}

// Somebody with the token holds an image on the page; what is pushed then stays away until it is released.
func TestServeActions(t *testing.T) {
	f := newFleet(t, 3)
	s := f.acting()
	image := url.Values{"target": {"gitops"}, "image": {f.registry.Host + "/team/app1"}, "reason": {"waits for the new database"}}
	if code := s.act("hold", "t0ken", image); code != 401 || f.commits() != 0 {
		t.Errorf("a wrong token: %d, %d commits", code, f.commits())
	}
	if code := s.act("hold", pageToken, image); code/100 > 3 || f.commits() != 1 {
		t.Fatalf("hold: %d, %d commits\n%s", code, f.commits(), s.log())
	}
	if text, err := f.repository.File("main", "values.yaml"); err != nil || !strings.Contains(text, "app1:1.0.0} # imgbump: hold waits for the new database\n") {
		t.Errorf("%v:\n%s", err, text)
	}
	s.sees("msg=round ")
	f.push("app1", "1.2.0")
	if code := s.act("update", pageToken, image); code/100 > 3 {
		t.Fatalf("update: %d", code)
	}
	s.sees("msg=round ")
	if got := f.says()["app1"]; got != "1.0.0" {
		t.Errorf("it is held, and became %s", got)
	}
	if page := s.ask("/"); !strings.Contains(page, "waits for the new database") {
		t.Errorf("the page does not tell of the hold:\n%s", page)
	}
	if code := s.act("release", pageToken, image); code/100 > 3 {
		t.Fatalf("release: %d", code)
	}
	s.sees("msg=round ", "commits=1")
	f.isCurrent()
	if strings.Contains(s.log(), "t0ken") {
		t.Errorf("the log tells the token:\n%s", s.log())
	}
}

// What of an image can be held is held, and seen, when something else of it cannot be.
func TestServeHoldsInPart(t *testing.T) {
	f := newFleet(t, 2)
	f.commit("more.json", `{"apiVersion": "v1", "kind": "Pod", "spec": {"image": "`+f.registry.Host+`\/team\/app1:1.0.0"}}`)
	s := f.acting()
	image := url.Values{"target": {"gitops"}, "image": {f.registry.Host + "/team/app1"}, "reason": {"移行待ち: #1 {{.}}"}}
	if code := s.act("hold", pageToken, image); code != 502 || f.commits() != 2 {
		t.Fatalf("hold: %d, %d commits\n%s", code, f.commits(), s.log())
	}
	s.sees("msg=round ", "images="+f.registry.Host+"/team/app1")
	if page := s.ask("/"); !strings.Contains(page, "移行待ち: #1 {{.}}") {
		t.Errorf("the page does not tell of the hold:\n%s", page)
	}
	image.Set("reason", "a # imgbump: semver")
	if code := s.act("hold", pageToken, image); code != 400 || f.commits() != 2 {
		t.Errorf("a reason that no comment can say: %d, %d commits", code, f.commits())
	}
}
