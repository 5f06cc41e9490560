package actiontest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/registrytest"
)

const (
	host       = "harbor.internal.example.com" // in the workflow and the manifests
	robot      = "robot$sandbox+ci"
	password   = "Harbor-s3cret-Pa55"
	token      = "ghs_t0kenOfTheRun"
	deployment = "manifests/apps/rss/deployment.yaml"
)

// loop is the repository of an application with the deployment workflow of this repository, a registry and a git server.
type loop struct {
	*runner
	registry *registrytest.Server
	origin   *gittest.Repository
}

func newLoop(t *testing.T) *loop {
	t.Helper()
	l := &loop{runner: newRunner(t), registry: registrytest.Start(t, registrytest.Config{
		Projects: []string{"sandbox"},
		Robots:   []registrytest.Robot{{Name: robot, Secret: password, Project: "sandbox", Push: true}},
	})}
	server, err := gittest.Start(gittest.Options{Username: "x-access-token", Password: token})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { server.Close() })
	if l.origin, err = server.Create("acme/rss.git"); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{".github/workflows/deploy-example.yml", "go.mod", "internal/demo/app/main.go",
		"internal/demo/app/Dockerfile", deployment} {
		l.here(t, name)
	}
	l.git(t, "init", "--quiet")
	l.push(t, "all")
	return l
}

// here copies a file of this repository, with the registry of the test.
func (l *loop) here(t *testing.T, name string) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(root, name))
	if err != nil {
		t.Fatal(err)
	}
	l.write(t, name, strings.ReplaceAll(string(data), host, l.registry.Host))
}

// push commits everything and makes it the tip of origin's main.
func (l *loop) push(t *testing.T, message string) {
	t.Helper()
	l.git(t, "add", ".")
	l.git(t, "commit", "--quiet", "--allow-empty", "--message="+message)
	l.git(t, "push", "--quiet", "--force", l.origin.Dir, "HEAD:refs/heads/main")
}

func (l *loop) tip(t *testing.T) string {
	t.Helper()
	tip, err := l.origin.Tip("main")
	if err != nil {
		t.Fatal(err)
	}
	return tip
}

// deploy runs the workflow on a runner that hides no secret, and yet none may be in the log.
func (l *loop) deploy(t *testing.T, args ...string) (string, error) {
	t.Helper()
	stubs, err := filepath.Abs("testdata")
	if err != nil {
		t.Fatal(err)
	}
	server, _, _ := strings.Cut(l.origin.URL, "/acme")
	log, failed := l.act(t, ".github/workflows/deploy-example.yml", append([]string{"--no-skip-checkout", "--insecure-secrets", "--var", "DEPLOY_EXAMPLE=true",
		"--local-repository", "actions/checkout@v6=" + filepath.Join(stubs, "checkout"),
		"--local-repository", "actions/setup-go@v6=" + filepath.Join(stubs, "setup-go"),
		"--env", "STUB_REMOTE=" + l.origin.URL, "--env", "STUB_SERVER=" + server, "--env", "IMGBUMP_BIN=" + binaries(t), "--env", "GOCACHE=" + goCache(t),
		"-s", "GITHUB_TOKEN=" + token, "-s", "HARBOR_USERNAME=" + robot, "-s", "HARBOR_PASSWORD=" + password}, args...)...)
	for _, secret := range []string{password, token, base64.StdEncoding.EncodeToString([]byte("x-access-token:" + token)),
		base64.StdEncoding.EncodeToString([]byte(robot + ":" + password))} {
		if strings.Contains(log, secret) {
			t.Errorf("the log shows the secret %s:\n%s", secret, log)
		}
	}
	return log, failed
}

// goCache is where compiled packages lie, so that the workflow's compiler finds the standard library done.
func goCache(t *testing.T) string {
	t.Helper()
	out, err := exec.Command("go", "env", "GOCACHE").Output()
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(out))
}

// digest asks the registry which image a tag names.
func (l *loop) digest(t *testing.T, repository, tag string) string {
	t.Helper()
	request, err := http.NewRequest(http.MethodGet, l.registry.URL+"/v2/"+repository+"/manifests/"+tag, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.SetBasicAuth(robot, password)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil || response.StatusCode != http.StatusOK {
		t.Fatalf("%s:%s: %s %v\n%s", repository, tag, response.Status, err, body)
	}
	return fmt.Sprintf("sha256:%x", sha256.Sum256(body))
}

func TestTheLoop(t *testing.T) {
	l := newLoop(t)
	start := l.tip(t)
	log, err := l.deploy(t)
	if err != nil {
		t.Fatalf("%v\n%s", err, log)
	}

	tip := l.tip(t)
	digest := l.digest(t, "sandbox/rss", start)
	image := l.registry.Host + "/sandbox/rss:" + start + "@" + digest
	diff, err := gittest.Git(l.origin.Dir, "diff", "--unified=0", start, tip)
	if err != nil {
		t.Fatal(err)
	}
	old := l.registry.Host + "/sandbox/rss:1.4.2"
	want := []string{
		"-          image: " + old, "+          image: " + image,
		"-          image: " + old + "   # the same build as the migration", "+          image: " + image + "   # the same build as the migration",
	}
	if diff := cmp.Diff(want, regexp.MustCompile(`(?m)^[-+] .*$`).FindAllString(diff, -1)); diff != "" {
		t.Errorf("the change of the manifests: %s", diff)
	}
	files, err := gittest.Git(l.origin.Dir, "log", "--format=%an <%ae>%n%(trailers:key=Imgbump)", "--name-only", start+".."+tip)
	if err != nil {
		t.Fatal(err)
	}
	if want := "github-actions[bot] <41898282+github-actions[bot]@users.noreply.github.com>\nImgbump: v1\n\n\n" + deployment + "\n"; files != want {
		t.Errorf("the commits are %q, want one: %q", files, want)
	}
	if outputs := fmt.Sprintf("%s/sandbox/rss@%s is in commit %s", l.registry.Host, digest, tip); !strings.Contains(log, outputs) {
		t.Errorf("the log lacks the outputs %q:\n%s", outputs, log)
	}
	if err := l.origin.Fsck(); err != nil {
		t.Error(err)
	}

	// A run that our own commit starts ends at once.
	message, err := gittest.Git(l.origin.Dir, "log", "-1", "--format=%B", tip)
	if err != nil {
		t.Fatal(err)
	}
	event, err := json.Marshal(map[string]any{"head_commit": map[string]string{"message": message}})
	if err != nil {
		t.Fatal(err)
	}
	l.write(t, "event.json", string(event))
	l.registry.Forget()
	log, err = l.deploy(t, "-e", "event.json")
	if err != nil || l.tip(t) != tip || len(l.registry.Requests()) > 0 || !strings.Contains(log, "::notice::") {
		t.Errorf("a run for our own commit: %v, tip %s, want %s\n%s", err, l.tip(t), tip, log)
	}
}

// A wrong password ends the run before anything is committed, and the log says what to do.
func TestTheLoopWithAWrongPassword(t *testing.T) {
	l := newLoop(t)
	start := l.tip(t)
	log, err := l.deploy(t, "-s", "HARBOR_PASSWORD=wrong")
	if err == nil || l.tip(t) != start {
		t.Errorf("%v, tip %s, want a failed run and %s", err, l.tip(t), start)
	}
	// The annotation has the hint too; act may lose what a failing step writes last.
	if !strings.Contains(log, "::error::log in to "+l.registry.Host) || !strings.Contains(log, "check HARBOR_USERNAME and HARBOR_PASSWORD") {
		t.Errorf("the log does not say what is wrong:\n%s", log)
	}
}
