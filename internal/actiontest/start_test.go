package actiontest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// site is a runner for action/start.sh: a copy of the action, a PATH, a tool cache.
type site struct {
	t                        *testing.T
	action, path, cache, tmp string
	env                      map[string]string
}

func newSite(t *testing.T) *site {
	t.Helper()
	dir := t.TempDir()
	s := &site{t: t, action: filepath.Join(dir, "an action"), path: filepath.Join(dir, "path"),
		cache: filepath.Join(dir, "cache"), tmp: filepath.Join(dir, "tmp")}
	script, err := os.ReadFile(filepath.Join(root, "action", "start.sh"))
	if err != nil {
		t.Fatal(err)
	}
	s.write(filepath.Join(s.action, "action", "start.sh"), string(script))
	for _, dir := range []string{s.path, s.cache, s.tmp} {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	s.env = map[string]string{
		"PATH": s.path, "RUNNER_OS": "Linux", "RUNNER_ARCH": "X64", "RUNNER_TEMP": s.tmp, "RUNNER_TOOL_CACHE": s.cache,
		"GITHUB_OUTPUT": filepath.Join(dir, "output"), "HEAD_MESSAGE": "", "INPUT_TAGS": "a/b:1", "INPUT_IMAGES": "",
		"INPUT_PUSH": "true", "INPUT_SCAN": "false", "INPUT_NEXT": "", "INPUT_BUMP": "true", "INPUT_COMMIT": "true", "INPUT_BUILD_FROM_SOURCE": "false",
		"INPUT_BINARY_PATH": "", "INPUT_DOWNLOAD_URL": "http://127.0.0.1:9/none",
	}
	return s
}

func (s *site) write(path, content string) {
	s.t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		s.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o755); err != nil {
		s.t.Fatal(err)
	}
}

// binary is a program that knows its name and version, and nothing else.
func binary(name, version string) string {
	return "#!/bin/sh\necho '" + name + " " + version + " commit abc go1.26.8'\n"
}

func (s *site) install(dir, version string) {
	s.t.Helper()
	for _, name := range []string{"imgbump", "harborpush"} {
		s.write(filepath.Join(dir, name), binary(name, version))
	}
}

// release makes the action a release: its binaries have these checksums.
func (s *site) release(version, platform string) {
	s.t.Helper()
	var sums strings.Builder
	for _, name := range []string{"harborpush", "imgbump"} {
		fmt.Fprintf(&sums, "%x  %s-%s-%s\n", sha256.Sum256([]byte(binary(name, version))), name, version, platform)
	}
	s.write(filepath.Join(s.action, "action", "checksums.txt"), sums.String())
}

// tools puts programs of this machine on the PATH of the site.
func (s *site) tools(names ...string) {
	s.t.Helper()
	for _, name := range names {
		if err := os.Symlink(tool(s.t, name), filepath.Join(s.path, name)); err != nil {
			s.t.Fatal(err)
		}
	}
}

// run answers with the folder that the script chose, and with its log.
func (s *site) run() (bin, log string, err error) {
	s.t.Helper()
	cmd := exec.Command("/bin/sh", filepath.Join(s.action, "action", "start.sh"))
	cmd.Env, cmd.Dir = []string{}, s.tmp
	for name, value := range s.env {
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	out, err := cmd.CombinedOutput()
	output, outputErr := os.ReadFile(s.env["GITHUB_OUTPUT"])
	if outputErr != nil && !errors.Is(outputErr, fs.ErrNotExist) {
		s.t.Fatal(outputErr)
	}
	return strings.TrimSuffix(strings.TrimPrefix(string(output), "bin="), "\n"), string(out), err
}

// The PATH of these runs holds nothing but what a case puts there: sh is enough.
func TestStartFindsBinaries(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(s *site) (want string)
	}{
		{"binary-path, whatever its version", func(s *site) string {
			s.release("v1.2.0", "linux-amd64")
			s.install(s.path, "v1.2.0")
			s.install(s.tmp+"/my bin", "v0.9.0")
			s.env["INPUT_BINARY_PATH"], s.env["IMGBUMP_BIN"] = s.tmp+"/my bin", "/elsewhere"
			return s.tmp + "/my bin"
		}},
		{"IMGBUMP_BIN", func(s *site) string {
			s.install(s.tmp+"/bin", "v0.9.0")
			s.env["IMGBUMP_BIN"] = s.tmp + "/bin"
			return s.tmp + "/bin"
		}},
		{"PATH, of the action's version", func(s *site) string {
			s.release("v1.2.0", "linux-amd64")
			s.install(s.path, "v1.2.0")
			return s.path
		}},
		{"PATH, for an action between releases", func(s *site) string {
			s.install(s.path, "(devel)")
			return s.path
		}},
		{"the tool cache, when PATH has another version", func(s *site) string {
			s.release("v1.2.0", "linux-amd64")
			s.install(s.path, "v1.2.01")
			s.install(s.cache+"/imgbump/1.2.0/amd64", "v1.2.0")
			return s.cache + "/imgbump/1.2.0/amd64"
		}},
		{"bin/, when PATH has only one of the two", func(s *site) string {
			s.release("v1.2.0", "linux-arm64")
			s.env["RUNNER_ARCH"] = "ARM64"
			s.write(s.path+"/imgbump", binary("imgbump", "v1.2.0"))
			s.install(s.action+"/bin/linux-arm64", "v1.2.0")
			return s.action + "/action/../bin/linux-arm64"
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			want := tt.prepare(s)
			if got, log, err := s.run(); got != want || err != nil {
				t.Errorf("got %q, want %q (%v)\n%s", got, want, err, log)
			}
		})
	}
}

func TestStartBuildsFromSource(t *testing.T) {
	s := newSite(t)
	s.install(s.path, "(devel)")
	s.tools("mkdir")
	s.write(s.path+"/go", "#!/bin/sh\necho \"$PWD: go $*\"\n")
	s.env["INPUT_BUILD_FROM_SOURCE"] = "true"
	got, log, err := s.run()
	if want := s.tmp + "/imgbump-bin"; got != want || err != nil {
		t.Errorf("got %q, want %q: the source goes before PATH (%v)", got, want, err)
	}
	if want := fmt.Sprintf("%s: go build -buildvcs=false -o %s/imgbump-bin/ ./cmd/imgbump ./cmd/harborpush\n", s.action, s.tmp); !strings.HasPrefix(log, want) {
		t.Errorf("log %q, want %q", log, want)
	}
}

func TestStartDownloads(t *testing.T) {
	for _, downloader := range []string{"curl", "wget"} {
		t.Run(downloader, func(t *testing.T) {
			s := newSite(t)
			s.release("v1.2.0", "linux-amd64")
			s.tools(downloader, "sha256sum", "mktemp", "chmod", "mv", "mkdir", "rm")
			var asked []string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				asked = append(asked, r.URL.Path)
				name, _, _ := strings.Cut(filepath.Base(r.URL.Path), "-")
				fmt.Fprint(w, binary(name, "v1.2.0"))
			}))
			defer server.Close()
			s.env["INPUT_DOWNLOAD_URL"] = server.URL + "/releases"
			for _, round := range []string{"cold", "cached"} {
				got, log, err := s.run()
				if want := s.cache + "/imgbump/1.2.0/amd64"; !strings.HasSuffix(got, want) || err != nil {
					t.Fatalf("%s: got %q, want %q (%v)\n%s", round, got, want, err, log)
				}
			}
			if got := fmt.Sprint(asked); got != "[/releases/v1.2.0/imgbump-v1.2.0-linux-amd64 /releases/v1.2.0/harborpush-v1.2.0-linux-amd64]" {
				t.Errorf("asked for %s", got)
			}
		})
	}
}

func TestStartRefusesWrongBytes(t *testing.T) {
	s := newSite(t)
	s.release("v1.2.0", "linux-amd64")
	s.tools("curl", "sha256sum", "mktemp", "chmod", "mv", "mkdir", "rm")
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, binary("imgbump", "v1.2.0")+"# and more\n")
	}))
	defer server.Close()
	s.env["INPUT_DOWNLOAD_URL"] = server.URL
	got, log, err := s.run()
	if got != "" || err == nil || !strings.Contains(log, "::error::"+server.URL+"/v1.2.0/imgbump-v1.2.0-linux-amd64 does not have the checksum") {
		t.Errorf("got %q, %v\n%s", got, err, log)
	}
	if left, err := os.ReadDir(s.cache + "/imgbump/1.2.0/amd64"); len(left) > 0 || err != nil {
		t.Errorf("left in the cache: %v, %v", left, err)
	}
}

func TestStartSaysWhatIsWrong(t *testing.T) {
	for _, tt := range []struct {
		name    string
		prepare func(s *site)
		want    string
		code    int
	}{
		{"nothing to do", func(s *site) { s.env["INPUT_TAGS"] = "" }, "nothing to do: give tags", 2},
		{"only images, without a bump", func(s *site) {
			s.env["INPUT_TAGS"], s.env["INPUT_IMAGES"], s.env["INPUT_BUMP"] = "", "a/b:1", "false"
		}, "nothing to do: give tags", 2},
		{"not a boolean", func(s *site) { s.env["INPUT_BUMP"] = "yes" }, `input bump is "yes": it is true or false`, 2},
		{"half a binary-path", func(s *site) {
			s.write(s.tmp+"/bin/imgbump", binary("imgbump", "v1"))
			s.env["INPUT_BINARY_PATH"] = s.tmp + "/bin"
		}, "/bin does not hold harborpush", 1},
		{"no Go", func(s *site) { s.env["INPUT_BUILD_FROM_SOURCE"] = "true" }, "actions/setup-go", 1},
		{"no release", func(*site) {}, "not a release with binaries for linux-amd64", 1},
		{"no release for this machine", func(s *site) {
			s.release("v1.2.0", "linux-amd64")
			s.env["RUNNER_ARCH"] = "ARM"
		}, "not a release with binaries for unknown", 1},
		{"no sha256sum", func(s *site) { s.release("v1.2.0", "linux-amd64") }, "needs sha256sum", 1},
		{"no downloader", func(s *site) {
			s.release("v1.2.0", "linux-amd64")
			s.tools("sha256sum", "mktemp", "mkdir", "chmod", "mv", "rm")
		}, "needs curl or wget", 1},
		{"no server", func(s *site) {
			s.release("v1.2.0", "linux-amd64")
			s.tools("wget", "sha256sum", "mktemp", "chmod", "mv", "mkdir", "rm")
			s.env["INPUT_DOWNLOAD_URL"] = "http://127.0.0.1:1"
		}, "could not download http://127.0.0.1:1/v1.2.0/imgbump-v1.2.0-linux-amd64", 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := newSite(t)
			tt.prepare(s)
			bin, log, err := s.run()
			var exit *exec.ExitError
			if !errors.As(err, &exit) || exit.ExitCode() != tt.code || bin != "" {
				t.Errorf("%v, bin %q; want exit code %d", err, bin, tt.code)
			}
			if !strings.Contains(log, "::error::") || !strings.Contains(log, tt.want) {
				t.Errorf("log:\n%swant %q", log, tt.want)
			}
		})
	}
}

// The commit that a bump makes starts a workflow again when it was pushed with a token of one's own.
func TestStartStopsOnOurOwnCommit(t *testing.T) {
	for message, stops := range map[string]bool{
		"Bump a/b to 1\n\nImgbump: v1":                                                        true,
		"Bump a/b to 1\n\nImgbump: v1\nSigned-off-by: A <a@b.c>\n":                            true,
		"Bump a/b to 1\n\nbody\n\nReviewed-by: X\nImgbump: v1\n\n\n":                          true,
		"Add a page (#7)\n\n* Bump a/b to 1\n\nImgbump: v1\n\n* Add a page":                   false,
		"Add a page (#7)\n\n* Bump a/b to 1\n\nImgbump: v1\n\n---------\n\nCo-authored-by: X": false,
		"Add a page (#7)\n\n* Add a page\n\n* Bump a/b to 1\n\nImgbump: v1":                   false,
		"Bump (#7)\n\n* Bump a/b to 1\n\nImgbump: v1\n\n* Bump c to 2\n\nImgbump: v1":         true,
		"Imgbump: v1":                        false,
		"Explain what \"Imgbump: v1\" means": false,
		"Imgbump: v10":                       false,
		"":                                   false,
	} {
		s := newSite(t)
		s.install(s.path, "(devel)")
		s.env["HEAD_MESSAGE"] = message
		bin, log, err := s.run()
		if err != nil || (bin == "") != stops || strings.Contains(log, "::notice::") != stops {
			t.Errorf("%q: bin %q, %v\n%s", message, bin, err, log)
		}
	}
}
