package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
)

// service is a process of imgbump serve.
type service struct {
	*world
	cmd *exec.Cmd
	url string
	log *bytes.Buffer // to be read after its end
}

// serve starts the service, and waits until it has looked at all images.
func (w *world) serve(ctx context.Context, binary string, window time.Duration) (*service, error) {
	address, err := free()
	if err != nil {
		return nil, err
	}
	s := &service{world: w, url: "http://" + address, log: &bytes.Buffer{}}
	s.cmd = exec.CommandContext(ctx, binary, "serve", "--repo", w.repository.URL, "--branch", "main",
		"--listen", address, "--window", window.String(), "--webhook-open", "harbor")
	s.cmd.Env = append(gittest.Env(), "DOCKER_CONFIG="+w.dir, "XDG_CACHE_HOME="+w.dir)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	if err := s.cmd.Start(); err != nil {
		return nil, err
	}
	if err := until(ctx, "look at all images", 20*time.Millisecond, s.looked); err != nil {
		s.end()
		return nil, fmt.Errorf("%w: %.2000s", err, s.log)
	}
	return s, nil
}

// free is an address that nobody listens on.
func free() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

// end ends the process.
func (s *service) end() {
	s.cmd.Process.Signal(syscall.SIGTERM)
	s.cmd.Wait()
}

// looked reports whether all images have been looked at.
func (s *service) looked() (bool, error) {
	answer, err := http.Get(s.url + "/status.json")
	if err != nil {
		return false, nil // it does not listen yet
	}
	defer answer.Body.Close()
	var status struct {
		Targets []struct {
			State  string
			Whole  time.Time
			Images []json.RawMessage
		}
	}
	if err := json.NewDecoder(answer.Body).Decode(&status); err != nil || len(status.Targets) != 1 {
		return false, cmp.Or(err, fmt.Errorf("%d targets", len(status.Targets)))
	}
	t := status.Targets[0]
	return t.State == "idle" && !t.Whole.IsZero() && len(t.Images) == s.images, nil
}

// push makes a version of an image, and tells the service as Harbor does.
func (s *service) push(image int, tag string) error {
	name := fmt.Sprintf("app-%04d", image)
	s.mu.Lock()
	s.newest["team/"+name] = tag
	s.mu.Unlock()
	body := fmt.Sprintf(`{"type":"PUSH_ARTIFACT","occur_at":%d,"operator":"robot$ci","event_data":{"resources":[{"digest":"sha256:%064d","tag":"%s","resource_url":"%s/team/%s:%[3]s"}],`+
		`"repository":{"name":"%[5]s","namespace":"team","repo_full_name":"team/%[5]s","repo_type":"private"}}}`, time.Now().Unix(), image, tag, s.host, name)
	answer, err := http.Post(s.url+"/webhook?type=harbor", "application/json", strings.NewReader(body))
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK && answer.StatusCode != http.StatusAccepted {
		return fmt.Errorf("the webhook was answered by %s", answer.Status)
	}
	return nil
}

// memory is a line of the process' status, in MB.
func (s *service) memory(line string) (float64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	for l := range strings.Lines(string(text)) {
		var kilobytes float64
		if value, is := strings.CutPrefix(l, line+":"); is {
			_, err := fmt.Sscan(value, &kilobytes)
			return kilobytes * 1024 / 1e6, err
		}
	}
	return 0, fmt.Errorf("the process has no %s", line)
}
