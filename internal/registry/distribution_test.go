package registry_test

import (
	"bufio"
	"context"
	"fmt"
	"github.com/ksera524/imgbump/internal/without"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
)

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// distribution starts the distribution project's registry and is its host.
func distribution(t *testing.T) string {
	t.Helper()
	binary := ""
	for _, name := range []string{"registry", "docker-registry"} {
		if path, err := exec.LookPath(name); err == nil {
			binary = path
		}
	}
	if binary == "" {
		without.Skip(t, "registry or docker-registry on PATH: apt install docker-registry")
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "config.yml")
	if err := os.WriteFile(config, fmt.Appendf(nil, "version: 0.1\nlog: {level: info}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:0}\n", dir), 0o600); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, binary, "serve", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	host, ended := make(chan string, 1), make(chan struct{})
	go func() {
		defer close(ended)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				host <- m[1]
			}
		}
	}()
	t.Cleanup(func() { stop(); <-ended; cmd.Wait() })
	select {
	case h := <-host:
		return h
	case <-ended:
		t.Fatalf("%s ended before it listened", binary)
	}
	return ""
}
