package dockerfile_test

import (
	"bytes"
	"cmp"
	"context"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/without"
)

// set carries out a line of a case's comment.
func (c *oracleCase) set(t *testing.T, verb string, words []string, rest string) {
	t.Helper()
	switch verb {
	case "differs":
		c.differs = rest
	case "differs-in":
		c.differsIn[words[0]] = strings.TrimSpace(strings.TrimPrefix(rest, words[0]))
	case "entries":
		c.entries = true
	case "build":
		for i := 0; i+1 < len(words); i += 2 {
			c.flag(t, words[i], words[i+1])
		}
	case "output":
		c.output = "," + rest
	case "tar", "gzip": // an archive of the entries in the section tar:NAME
		c.pack(t, words[0], verb)
	case "serve": // the context @files, at $FILES
		server := httptest.NewServer(http.FileServer(http.Dir(c.path("@files"))))
		t.Cleanup(server.Close)
		c.offer("FILES", server.URL)
	case "git": // the context @git as a repository, at $GIT
		c.offer("GIT", c.repository(t))
	case "mtime": // a time other than that of the rest, in seconds since 1970
		seconds, err := strconv.ParseInt(words[1], 10, 64)
		must(t, err)
		c.times[c.path(words[0])] = time.Unix(seconds, 0)
	case "chmod":
		mode, err := strconv.ParseUint(words[0], 8, 32)
		must(t, err)
		must(t, unix.Chmod(c.path(words[1]), uint32(mode)))
	case "capability": // needs to be root
		if os.Geteuid() != 0 {
			without.Skip(t, "root, to give a file capabilities")
		}
		value, err := hex.DecodeString(netRaw)
		must(t, err)
		must(t, unix.Setxattr(c.path(words[0]), "security.capability", value, 0))
	case "attribute":
		must(t, unix.Setxattr(c.path(words[0]), words[1], []byte("x"), 0))
	default:
		c.create(t, verb, c.path(words[0]), words[1:])
	}
}

// create makes what the context cannot have as a section of the case.
func (c *oracleCase) create(t *testing.T, kind, name string, words []string) {
	t.Helper()
	switch kind {
	case "mkdir":
		must(t, os.MkdirAll(name, 0o755))
	case "symlink":
		must(t, os.Symlink(words[0], name))
	case "link":
		must(t, os.Link(c.path(words[0]), name))
	case "fifo":
		must(t, unix.Mkfifo(name, 0o644))
	case "socket": // that nobody listens on
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
		must(t, err)
		must(t, unix.Bind(fd, &unix.SockaddrUnix{Name: name}))
		must(t, unix.Close(fd))
	case "fill": // a file of so many bytes
		size, err := strconv.Atoi(words[0])
		must(t, err)
		must(t, os.WriteFile(name, bytes.Repeat([]byte("0123456789abcde\n"), size/16+1)[:size], 0o644))
	case "base64": // a file that is no text
		data, err := base64.StdEncoding.DecodeString(words[0])
		must(t, err)
		must(t, os.WriteFile(name, data, 0o644))
	default:
		t.Fatalf("%s: unknown command %s", c.file, kind)
	}
}

// offer makes an address an argument of the build, and makes what it is recorded as the same in every run.
func (c *oracleCase) offer(arg, address string) {
	c.args[arg] = address
	c.stable = append(c.stable, address, "http://"+strings.ToLower(arg)+".test")
}

// agent is the socket of something that could be an SSH agent.
func (c *oracleCase) agent(t *testing.T, id string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // the address of a socket is short
	must(t, err)
	listener, err := net.Listen("unix", filepath.Join(dir, id))
	must(t, err)
	t.Cleanup(func() {
		listener.Close()
		os.RemoveAll(dir)
	})
	return listener.Addr().String()
}

func (c *oracleCase) repository(t *testing.T) string {
	t.Helper()
	server, err := gittest.Start(gittest.Options{})
	must(t, err)
	t.Cleanup(func() { server.Close() })
	repository, err := server.Create("it.git")
	must(t, err)
	_, err = repository.Commit("main", "first", os.DirFS(c.path("@git")))
	must(t, err)
	return repository.URL
}

// download is dockerfile.Sources.Download.
func (c *oracleCase) download(t *testing.T) func(context.Context, string) (*os.File, time.Time, error) {
	return func(ctx context.Context, address string) (*os.File, time.Time, error) {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
		must(t, err)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			return nil, time.Time{}, err
		}
		defer response.Body.Close()
		if response.StatusCode != http.StatusOK {
			return nil, time.Time{}, fmt.Errorf("%s: %s", address, response.Status)
		}
		f, err := os.CreateTemp(t.TempDir(), "")
		must(t, err)
		t.Cleanup(func() { f.Close() })
		_, err = io.Copy(f, response.Body)
		must(t, err)
		modified, err := http.ParseTime(response.Header.Get("Last-Modified"))
		return f, modified, err
	}
}

// clone is dockerfile.Sources.Clone.
func (c *oracleCase) clone(t *testing.T) func(context.Context, dockerfile.Repository) (*os.File, error) {
	return func(_ context.Context, r dockerfile.Repository) (*os.File, error) {
		dir := t.TempDir()
		name := filepath.Join(dir, "it.tar")
		if _, err := gittest.Git("", "clone", "--quiet", r.Address, filepath.Join(dir, "it")); err != nil {
			return nil, err
		}
		if _, err := gittest.Git(filepath.Join(dir, "it"), "-c", "tar.umask=0022", "archive", "--output", name, cmp.Or(r.Ref, "HEAD")+":"+r.Subdir); err != nil {
			return nil, err
		}
		f, err := os.Open(name)
		must(t, err)
		t.Cleanup(func() { f.Close() })
		return f, nil
	}
}

func (c *oracleCase) flag(t *testing.T, name, value string) {
	t.Helper()
	key, is, _ := strings.Cut(value, "=")
	switch name {
	case "--build-arg":
		c.args[key] = is
	case "--label":
		c.labels[key] = is
	case "--target":
		c.target = value
	case "--build-context":
		c.contexts[key] = is
	case "--secret":
		c.secrets[key] = is
	case "--ssh":
		c.agents[value] = c.agent(t, value)
	case "--add-host":
		c.hosts = append(c.hosts, value)
	case "--network":
		c.network = value
	case "--shm-size":
		size, err := strconv.ParseInt(value, 10, 64)
		must(t, err)
		c.shmSize = size
	case "--ulimit":
		c.limits = append(c.limits, value)
	case "--platform":
		for text := range strings.SplitSeq(value, ",") {
			p, err := v1.ParsePlatform(text)
			must(t, err)
			c.platforms = append(c.platforms, *p)
		}
	default:
		t.Fatalf("%s: unknown flag %s", c.file, name)
	}
}

func (c *oracleCase) pack(t *testing.T, name, how string) {
	t.Helper()
	for _, f := range c.archive.Files {
		if f.Name != "tar:"+name {
			continue
		}
		data := tarOf(t, string(f.Data))
		if how == "gzip" {
			data = gzipped(t, data)
		}
		must(t, os.MkdirAll(filepath.Dir(c.path(name)), 0o755))
		must(t, os.WriteFile(c.path(name), data, 0o644))
		return
	}
	t.Fatalf("%s: no section tar:%s", c.file, name)
}

// setTime sets when a name was last changed, without following it.
func setTime(name string, at time.Time) error {
	when := unix.NsecToTimespec(at.UnixNano())
	return unix.UtimesNanoAt(unix.AT_FDCWD, name, []unix.Timespec{when, when}, unix.AT_SYMLINK_NOFOLLOW)
}
