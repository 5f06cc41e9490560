package main

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ksera524/imgbump/internal/registrytest"
)

// brokenBuild runs the program on a Dockerfile, and wants it to leave neither a temporary file nor an output behind.
type brokenBuild struct {
	program, context, temp string
}

func newBrokenBuild(t *testing.T, dockerfile string) *brokenBuild {
	t.Helper()
	b := &brokenBuild{program: filepath.Join(t.TempDir(), "harborpush"), context: t.TempDir(), temp: t.TempDir()}
	if out, err := exec.Command("go", "build", "-o", b.program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	data := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{}).Read(data)
	for name, text := range map[string][]byte{"Dockerfile": []byte(dockerfile), "data": data} {
		if err := os.WriteFile(filepath.Join(b.context, name), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

func (b *brokenBuild) command(args ...string) (*exec.Cmd, *bytes.Buffer) {
	cmd := exec.Command(b.program, append([]string{"build", b.context}, args...)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+b.temp, "XDG_CACHE_HOME="+b.context, "DOCKER_CONFIG="+b.context)
	said := new(bytes.Buffer)
	cmd.Stderr = said
	return cmd, said
}

func (b *brokenBuild) ended(t *testing.T, err error, said *bytes.Buffer, code int, words string) {
	t.Helper()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || exit.ExitCode() != code || !strings.Contains(said.String(), words) {
		t.Errorf("%v, want exit %d and %q in\n%s", err, code, words, said)
	}
	if left, err := os.ReadDir(b.temp); err != nil || len(left) > 0 {
		t.Errorf("left behind: %v %v", left, err)
	}
}

// TestInterrupted sends Ctrl-C while ADD waits for a server.
func TestInterrupted(t *testing.T) {
	asked := make(chan bool)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Write(make([]byte, 1<<16))
		w.(http.Flusher).Flush()
		asked <- true
		<-r.Context().Done()
	}))
	defer s.Close()
	b := newBrokenBuild(t, "FROM scratch\nADD "+s.URL+"/x /\n")
	cmd, said := b.command("-o", "oci:"+filepath.Join(b.temp, "out"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	<-asked
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	b.ended(t, cmd.Wait(), said, 130, "interrupted")
}

// TestRegistryDies has the registry drop the connection after 60 % of the layer, each time.
func TestRegistryDies(t *testing.T) {
	s := registrytest.Start(t, registrytest.Config{Faults: []*registrytest.Fault{{Method: http.MethodPatch, Drop: 6 << 20 / 10 * 4, Times: 1000}}})
	b := newBrokenBuild(t, "FROM scratch\nCOPY data /\n")
	cmd, said := b.command("-t", s.Host+"/team/app:1", "--push")
	b.ended(t, cmd.Run(), said, 1, "harborpush: error: ")
}

// TestFullDisk has room for a part of the image only.
func TestFullDisk(t *testing.T) {
	b := newBrokenBuild(t, "FROM scratch\nCOPY data /\n")
	for _, output := range []string{"docker:" + filepath.Join(b.temp, "out.tar"), "oci:" + filepath.Join(b.temp, "out")} {
		cmd, said := b.command("-o", output)
		cmd.Path, cmd.Args = "/bin/sh", append([]string{"sh", "-c", `trap "" XFSZ; ulimit -f 1024; exec "$@"`, "sh"}, cmd.Args...)
		err := cmd.Run()
		os.Remove(filepath.Join(b.temp, "out")) // the folder that was asked for stays, empty
		b.ended(t, err, said, 1, "file too large")
	}
}
