package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/fstest"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/registrytest"
	"github.com/ksera524/imgbump/internal/status"
)

const hookSecret = "s3cret-of-the-hook"

// fleet is a repository whose images each have a policy, and the registry that they come from.
type fleet struct {
	t          *testing.T
	registry   *registrytest.Server
	git        *gittest.Server
	repository *gittest.Repository

	mu        sync.Mutex
	unchanged int               // lists that were asked for and known
	newest    map[string]string // tags by image
	lost      map[string]bool   // images that the registry has no more
}

func newFleet(t *testing.T, images int) *fleet {
	t.Helper()
	f := &fleet{t: t, newest: map[string]string{}, lost: map[string]bool{}}
	f.registry = harborOf(t, registrytest.Config{Instead: f.tags})
	var err error
	if f.git, err = gittest.Start(gittest.Options{}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.git.Close() })
	if f.repository, err = f.git.Create("team/gitops.git"); err != nil {
		t.Fatal(err)
	}
	files := fstest.MapFS{}
	for name, text := range policed(f.registry.Host, images, "constraint: \">=1\"") {
		files[name] = &fstest.MapFile{Data: []byte(text)}
	}
	if _, err := f.repository.Commit("main", "Begin", files); err != nil {
		t.Fatal(err)
	}
	return f
}

// tags answers a list of tags with the one that was there at first, and the newest.
func (f *fleet) tags(w http.ResponseWriter, r *http.Request) bool {
	name, isList := strings.CutSuffix(strings.TrimPrefix(r.URL.Path, "/v2/"), "/tags/list")
	if !isList {
		return false
	}
	tags := []string{"1.0.0"}
	f.mu.Lock()
	if f.lost[name] {
		f.mu.Unlock()
		http.NotFound(w, r)
		return true
	}
	if newest := f.newest[name]; newest != "" {
		tags = append(tags, newest)
	}
	etag := strconv.Quote(strings.Join(tags, "-"))
	unchanged := r.Header.Get("If-None-Match") == etag
	if unchanged {
		f.unchanged++
	}
	f.mu.Unlock()
	if w.Header().Set("ETag", etag); unchanged {
		w.WriteHeader(http.StatusNotModified)
		return true
	}
	json.NewEncoder(w).Encode(map[string]any{"name": name, "tags": tags})
	return true
}

// gone has the registry know nothing of an image, or as it was.
func (f *fleet) gone(image string, gone bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.lost["team/"+image] = gone
}

// push makes a version of an image, and returns what Harbor tells of it.
func (f *fleet) push(image, tag string) string {
	f.mu.Lock()
	f.newest["team/"+image] = tag
	f.mu.Unlock()
	return fmt.Sprintf(`{"type":"PUSH_ARTIFACT","occur_at":%d,"operator":"robot$ci","event_data":{"resources":[{"digest":"sha256:%064d","tag":"%s","resource_url":"%s/team/%s:%s"}],`+
		`"repository":{"name":"%[5]s","namespace":"team","repo_full_name":"team/%[5]s","repo_type":"private"}}}`, time.Now().Unix(), 1, tag, f.registry.Host, image, tag)
}

// says is the version of each image on the branch.
func (f *fleet) says() map[string]string {
	f.t.Helper()
	text, err := f.repository.File("main", "values.yaml")
	if err != nil {
		f.t.Fatal(err)
	}
	all := map[string]string{}
	for line := range strings.Lines(text) {
		name, ref, _ := strings.Cut(strings.TrimSpace(line), ": {image: ")
		ref, _, _ = strings.Cut(ref, "}")
		all[name] = ref[strings.LastIndex(ref, ":")+1:]
	}
	return all
}

// git1 is the first line of what git says of the repository.
func (f *fleet) git1(args ...string) string {
	f.t.Helper()
	out, err := gittest.Git(f.repository.Dir, args...)
	if err != nil {
		f.t.Fatal(err)
	}
	line, _, _ := strings.Cut(out, "\n")
	return line
}

// commits counts those on the branch but the first.
func (f *fleet) commits() int {
	f.t.Helper()
	var n int
	fmt.Sscan(f.git1("rev-list", "--count", "main"), &n)
	return n - 1
}

// serving is a process of imgbump serve.
type serving struct {
	t     *testing.T
	cmd   *exec.Cmd
	url   string
	lines chan string // of its log, as they come

	mu   sync.Mutex
	text strings.Builder // of its log, so far
}

// serve starts imgbump serve on the fleet's branch, and waits until it has looked at all of it.
func (f *fleet) serve(args ...string) *serving {
	f.t.Helper()
	s := f.begin(append([]string{"--repo", f.repository.URL, "--branch", "main"}, args...)...)
	s.sees(`msg=round `, `images=all`)
	return s
}

// begin starts imgbump serve, and waits until it listens. Arguments in capitals are variables of its environment.
func (f *fleet) begin(args ...string) *serving {
	f.t.Helper()
	s := &serving{t: f.t, lines: make(chan string, 10000)}
	isVariable := func(arg string) bool {
		name, _, ok := strings.Cut(arg, "=")
		return ok && strings.ToUpper(name) == name
	}
	env := slices.Clone(args)
	env = slices.DeleteFunc(env, func(arg string) bool { return !isVariable(arg) })
	args = slices.DeleteFunc(slices.Clone(args), isVariable)
	s.cmd = exec.Command("imgbump", append([]string{"serve", "--verbose", "--listen", "127.0.0.1:0", "--interval", "1h", "--window", "100ms"}, args...)...)
	home := f.t.TempDir()
	s.cmd.Env = append(gittest.Env(), "HOME="+home, "DOCKER_CONFIG="+home, "PATH="+os.Getenv("PATH"), "GORACE=atexit_sleep_ms=10",
		"HARBOR_URL="+f.registry.URL, "HARBOR_USERNAME="+robot, "HARBOR_PASSWORD="+robotPassword, "IMGBUMP_WEBHOOK_SECRET_HARBOR="+hookSecret)
	s.cmd.Env = append(s.cmd.Env, env...)
	log, err := s.cmd.StderrPipe()
	if err == nil {
		err = s.cmd.Start()
	}
	if err != nil {
		f.t.Fatal(err)
	}
	go s.read(log)
	f.t.Cleanup(func() { s.cmd.Process.Kill(); s.cmd.Wait() })
	_, address, _ := strings.Cut(s.sees("msg=serving"), "address=")
	address, _, _ = strings.Cut(address, " ")
	s.url = "http://" + address
	return s
}

func (s *serving) read(log io.Reader) {
	defer close(s.lines)
	for lines := bufio.NewScanner(log); lines.Scan(); {
		s.mu.Lock()
		s.text.WriteString(lines.Text() + "\n")
		s.mu.Unlock()
		s.lines <- lines.Text()
	}
}

// log is what the process has said so far.
func (s *serving) log() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text.String()
}

// sees waits for a line of the log that has all of the words.
func (s *serving) sees(words ...string) string {
	s.t.Helper()
	patience := time.After(30 * time.Second)
	for {
		select {
		case line, more := <-s.lines:
			if !more {
				s.t.Fatalf("it ended without %q:\n%s", words, s.log())
			}
			has := 0
			for _, word := range words {
				if strings.Contains(line, word) {
					has++
				}
			}
			if has == len(words) {
				return line
			}
		case <-patience:
			s.t.Fatalf("it does not say %q:\n%s", words, s.log())
		}
	}
}

// stop sends SIGTERM, and returns the exit code.
func (s *serving) stop() int {
	s.t.Helper()
	s.term()
	return s.wait()
}

func (s *serving) term() {
	s.t.Helper()
	if err := s.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		s.t.Fatal(err)
	}
}

func (s *serving) wait() int {
	for range s.lines { // the log ends with the process
	}
	s.cmd.Wait()
	return s.cmd.ProcessState.ExitCode()
}

// hook delivers a webhook, and returns the status.
func (s *serving) hook(secret, body string) int {
	req, err := http.NewRequest("POST", s.url+"/webhook?type=harbor", strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", secret)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0
	}
	defer resp.Body.Close()
	io.Copy(io.Discard, resp.Body)
	return resp.StatusCode
}

// act asks for an action, and returns the status.
func (s *serving) act(action, token string, form url.Values) int {
	s.t.Helper()
	req, err := http.NewRequest("POST", s.url+"/actions/"+action, strings.NewReader(form.Encode()))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+token)
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// code is the status of the answer to a GET.
func (s *serving) code(path string) int {
	s.t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// target is what it knows of the only target.
func (s *serving) target() status.Target {
	s.t.Helper()
	var d serveDocument
	if err := json.Unmarshal([]byte(s.ask("/status.json")), &d); err != nil || len(d.Targets) != 1 {
		s.t.Fatalf("%v: %+v", err, d)
	}
	return d.Targets[0]
}

// until waits until something holds.
func until(t *testing.T, holds func() bool) {
	t.Helper()
	for end := time.Now().Add(30 * time.Second); !holds(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("it does not come to hold")
		}
	}
}

// ask is the answer to a GET.
func (s *serving) ask(path string) string {
	s.t.Helper()
	resp, err := http.Get(s.url + path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		s.t.Fatalf("GET %s: %s, %v\n%s", path, resp.Status, err, text)
	}
	return string(text)
}

// A webhook becomes a commit; a wrong one is counted, and nothing of it is told.
func TestServe(t *testing.T) {
	f := newFleet(t, 3)
	s := f.serve()
	if f.commits() != 0 {
		t.Fatalf("nothing is newer, and there are %d commits", f.commits())
	}
	body := f.push("app1", "1.2.0")
	if code := s.hook("mistaken-secret", body); code != 401 {
		t.Errorf("a wrong secret: %d", code)
	}
	if code := s.hook(hookSecret, f.push("other", "9.0.0")); code/100 != 2 {
		t.Errorf("an image that nobody has: %d", code)
	}
	if code := s.hook(hookSecret, body); code/100 != 2 {
		t.Fatalf("the right secret: %d", code)
	}
	s.sees("msg=round ", "events=1", "commits=1")
	if got := f.says(); got["app1"] != "1.2.0" || got["app0"] != "1.0.0" || f.commits() != 1 {
		t.Errorf("%v in %d commits", got, f.commits())
	}
	var d serveDocument
	if err := json.Unmarshal([]byte(s.ask("/status.json")), &d); err != nil || d.Schema != "imgbump/serve/v1" || len(d.Targets) != 1 {
		t.Fatalf("%v: %+v", err, d)
	}
	target := d.Targets[0]
	if target.Name != "gitops" || target.Branch != "main" || len(target.Images) != 3 || len(target.Commits) != 1 || target.Commits[0].Lag <= 0 ||
		target.Images[1].Newest != "1.2.0" || target.Images[1].Places[0].Current != "1.2.0" {
		t.Errorf("%+v", target)
	}
	metrics := s.ask("/metrics")
	for _, want := range []string{
		`imgbump_webhooks_total{kind="harbor",outcome="unauthorized"} 1`, `imgbump_webhooks_total{kind="harbor",outcome="unknown"} 1`,
		`imgbump_webhooks_total{kind="harbor",outcome="accepted"} 1`, `imgbump_commits_total{target="gitops"} 1`, `imgbump_images{state="current",target="gitops"} 3`,
	} {
		if !strings.Contains(metrics, want+"\n") {
			t.Errorf("no %s in\n%s", want, metrics)
		}
	}
	if page := s.ask("/"); !strings.Contains(page, "<b>app1</b>") || s.ask("/healthz") != "ok\n" || s.ask("/readyz") != "ok\n" {
		t.Errorf("the page:\n%s", page)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("it ended with %d", code)
	}
	for _, secret := range []string{hookSecret, robotPassword, "mistaken-secret", "PUSH_ARTIFACT"} {
		if strings.Contains(s.log(), secret) {
			t.Errorf("the log tells %q:\n%s", secret, s.log())
		}
	}
}

// A thousand webhooks in a second become a handful of commits that have the right versions, in bounded memory.
func TestServeBurst(t *testing.T) {
	const images, pushes = 200, 1000
	f := newFleet(t, images)
	s := f.serve("--window", "500ms")
	var all sync.WaitGroup
	work := make(chan string)
	for range 20 {
		all.Go(func() {
			for body := range work {
				if code := s.hook(hookSecret, body); code/100 != 2 {
					t.Errorf("a webhook: %d", code)
				}
			}
		})
	}
	start := time.Now()
	for n := range pushes {
		work <- f.push(fmt.Sprintf("app%d", n%images), fmt.Sprintf("1.%d.0", n/images+1))
	}
	close(work)
	all.Wait()
	t.Logf("%d webhooks in %v", pushes, time.Since(start))
	want := fmt.Sprintf("1.%d.0", pushes/images)
	for current := 0; current < images; {
		s.sees("msg=round ")
		current = 0
		for _, version := range f.says() {
			if version == want {
				current++
			}
		}
	}
	if n := f.commits(); n > 10 {
		t.Errorf("%d commits", n)
	}
	if code := s.stop(); code != 0 {
		t.Errorf("it ended with %d\n%s", code, s.log())
	}
	usage := s.cmd.ProcessState.SysUsage().(*syscall.Rusage)
	t.Logf("%d commits, %d MiB at most", f.commits(), usage.Maxrss>>10)
}

// Whatever it is doing when it is killed: after a restart all is right, and the repository is whole.
func TestServeKilled(t *testing.T) {
	f := newFleet(t, 20)
	for kill := range 8 {
		s := f.serve("--window", "10ms")
		for n := range 20 {
			if code := s.hook(hookSecret, f.push(fmt.Sprintf("app%d", n), fmt.Sprintf("1.%d.%d", kill+1, n))); code/100 != 2 {
				t.Errorf("a webhook: %d", code)
			}
			if n == 2*kill {
				break
			}
		}
		s.cmd.Process.Kill()
		s.wait()
		if err := f.repository.Fsck(); err != nil {
			t.Fatal(err)
		}
	}
	s := f.serve()
	f.isCurrent()
	if code := s.stop(); code != 0 {
		t.Errorf("it ended with %d\n%s", code, s.log())
	}
}

// isCurrent checks that the branch has the newest version of each image.
func (f *fleet) isCurrent() {
	f.t.Helper()
	says := f.says()
	f.mu.Lock()
	defer f.mu.Unlock()
	for image, newest := range f.newest {
		if got := says[strings.TrimPrefix(image, "team/")]; got != newest {
			f.t.Errorf("%s is %s, want %s", image, got, newest)
		}
	}
}

// Two that write to one branch do no harm: each push is one commit, whoever makes it.
func TestServeTwoWriters(t *testing.T) {
	f := newFleet(t, 10)
	a, b := f.serve(), f.serve()
	for n := range 10 {
		body := f.push(fmt.Sprintf("app%d", n), "1.1.0")
		var both sync.WaitGroup
		for _, s := range []*serving{a, b} {
			both.Go(func() {
				if code := s.hook(hookSecret, body); code/100 != 2 {
					t.Errorf("a webhook: %d", code)
				}
			})
		}
		both.Wait()
		a.sees("msg=round ", "events=1")
		b.sees("msg=round ", "events=1")
	}
	f.isCurrent()
	if n := f.commits(); n != 10 {
		t.Errorf("%d commits for 10 pushes", n)
	}
	if err := f.repository.Fsck(); err != nil {
		t.Error(err)
	}
	for _, s := range []*serving{a, b} {
		if code := s.stop(); code != 0 {
			t.Errorf("it ended with %d\n%s", code, s.log())
		}
	}
}

// One look does what there is to do, and tells it.
func TestServeOnce(t *testing.T) {
	f := newFleet(t, 3)
	f.push("app2", "1.5.0")
	if d := f.once(); len(d.Targets) != 1 || len(d.Targets[0].Commits) != 1 {
		t.Fatalf("%+v", d)
	}
	f.isCurrent()
}

// What a policy leaves alone is shown with the reason, and not as behind.
func TestServeLeavesAlone(t *testing.T) {
	f := newFleet(t, 2)
	values := fmt.Sprintf("app0: {image: %[1]s/team/app0:1.0.0}\napp1: {image: %[1]s/team/app1:2.0.0}\n", f.registry.Host)
	if _, err := f.repository.Commit("main", "Ahead", fstest.MapFS{"values.yaml": &fstest.MapFile{Data: []byte(values)}}); err != nil {
		t.Fatal(err)
	}
	d := f.once()
	if p := d.Targets[0].Images[1].Places[0]; p.Current != "2.0.0" || !strings.Contains(p.Hold, "would be a downgrade") || len(d.Targets[0].Commits) > 0 {
		t.Errorf("%+v", d.Targets[0])
	}
}

// once runs imgbump serve --once, and returns what it prints.
func (f *fleet) once() serveDocument {
	f.t.Helper()
	cmd := exec.Command("imgbump", "serve", "--once", "--format", "json", "--repo", f.repository.URL, "--branch", "main")
	home := f.t.TempDir()
	cmd.Env = append(gittest.Env(), "HOME="+home, "DOCKER_CONFIG="+home, "HARBOR_URL="+f.registry.URL, "HARBOR_USERNAME="+robot, "HARBOR_PASSWORD="+robotPassword)
	out, err := cmd.Output()
	var d serveDocument
	if err := errors.Join(err, json.Unmarshal(out, &d)); err != nil {
		f.t.Fatalf("%v: %s", err, out)
	}
	return d
}

// Targets of a file are kept up to date each by itself; one that fails is told of.
func TestServeTargets(t *testing.T) {
	f := newFleet(t, 2)
	other, err := f.git.Copy("team/other.git", f.repository)
	if err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(t.TempDir(), "targets.yaml")
	text := fmt.Sprintf("version: 1\ntargets:\n  - {name: first, repo: %s, branch: main}\n  - {name: second, repo: %s, branch: main}\n  - {name: third, repo: %s/team/none.git, branch: main}\n",
		f.repository.URL, other.URL, f.git.URL)
	if err := os.WriteFile(config, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	s := f.begin("--config", config)
	s.sees("round failed", "target=third")
	body := f.push("app0", "2.0.0")
	if code := s.hook(hookSecret, body); code/100 != 2 {
		t.Fatalf("a webhook: %d", code)
	}
	for done := map[string]bool{}; len(done) < 2; {
		line := s.sees("msg=round ", "commits=1")
		for _, name := range []string{"first", "second"} {
			if strings.Contains(line, "target="+name) {
				done[name] = true
			}
		}
	}
	for _, r := range []*gittest.Repository{f.repository, other} {
		if text, err := r.File("main", "values.yaml"); err != nil || !strings.Contains(text, "app0:2.0.0") {
			t.Errorf("%v: %s", err, text)
		}
	}
	if code := s.stop(); code != 0 {
		t.Errorf("it ended with %d\n%s", code, s.log())
	}
}
