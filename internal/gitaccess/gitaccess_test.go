package gitaccess

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/githubtest"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// workflow remembers what is to be kept out of logs.
type workflow struct {
	cli.Workflow
	masked []string
}

func (w *workflow) Active() bool       { return false }
func (w *workflow) Mask(secret string) { w.masked = append(w.masked, secret) }

// console is where flags find their environment and standard input.
func console(env map[string]string, stdin string) (*cli.Console, *workflow) {
	w := &workflow{}
	return &cli.Console{Workflow: w, Streams: cli.Streams{
		In: strings.NewReader(stdin), Out: io.Discard, Err: &bytes.Buffer{}, Getenv: func(name string) string { return env[name] },
	}}, w
}

func parse(t *testing.T, args ...string) *Flags {
	t.Helper()
	var f Flags
	flags := pflag.NewFlagSet("", pflag.ContinueOnError)
	f.Bind(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestTokenFile(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct{ file, stdin, want string }{
		{empty, "", "--git-token-file " + empty + ": it is empty"},
		{"-", " \n", "--git-token-file -: it is empty"},
		{empty + "x", "", "--git-token-file " + empty + "x: no such file or directory"},
		{"-", "s3cret\n", ""},
	} {
		c, w := console(nil, tt.stdin)
		_, err := parse(t, "--git-token-file", tt.file).Keyring(c)
		if tt.want == "" && (err != nil || strings.Join(w.masked, "") != "s3cret") {
			t.Errorf("%v, masked %q", err, w.masked)
		}
		if tt.want != "" && (fault.KindOf(err) != fault.Usage || err.Error() != tt.want) {
			t.Errorf("%v, want %s", err, tt.want)
		}
	}
}

// hub is GitHub behind TLS, with the App 7 installed on team/app, and the file of its certificate and of the App's key.
func hub(t *testing.T) (web *httptest.Server, ca, key string) {
	t.Helper()
	dir := t.TempDir()
	if _, err := gittest.Git("", "init", "--quiet", "--bare", dir+"/app.git"); err != nil {
		t.Fatal(err)
	}
	made, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	server := githubtest.New()
	server.Add("team/app", dir+"/app.git")
	server.Install(githubtest.App{ID: "7", Key: &made.PublicKey, Repositories: []string{"team/app"}, Permissions: map[string]string{"contents": "write", "pull_requests": "write"}})
	web = httptest.NewTLSServer(server)
	t.Cleanup(web.Close)
	ca, key = filepath.Join(dir, "ca.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{
		ca: {Type: "CERTIFICATE", Bytes: web.Certificate().Raw}, key: {Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(made)},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return web, ca, key
}

// Whom git trusts, and the proxy that it takes, are those for GitHub's API too: for the App's tokens and for our requests.
func TestWayToTheAPI(t *testing.T) {
	web, ca, key := hub(t)
	config := filepath.Join(t.TempDir(), "config")
	if _, err := gittest.Git("", "config", "--file", config, "http."+web.URL+".sslCAInfo", ca); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name string
		args []string
		env  map[string]string
		want string
	}{
		{"--git-ca-file", []string{"--git-ca-file", ca}, nil, ""},
		{"GIT_SSL_CAINFO", nil, map[string]string{"GIT_SSL_CAINFO": ca}, ""},
		{"http.sslCAInfo", nil, map[string]string{"GIT_CONFIG_GLOBAL": config}, ""},
		{"a proxy that is not there", []string{"--git-ca-file", ca}, map[string]string{
			"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "http.https://api.example.com.proxy", "GIT_CONFIG_VALUE_0": "http://127.0.0.1:1",
			"GITHUB_API_URL": "https://api.example.com", "GITHUB_SERVER_URL": web.URL,
		}, "proxyconnect tcp: dial tcp 127.0.0.1:1"},
		{"nobody", nil, nil, "certificate signed by unknown authority"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			env := map[string]string{"GIT_CONFIG_NOSYSTEM": "1", "GITHUB_API_URL": web.URL, "GITHUB_SERVER_URL": web.URL}
			for name, value := range tt.env {
				env[name] = value
			}
			c, w := console(env, "")
			k := keyring(t, c, parse(t, append(tt.args, "--app-id", "7", "--app-key-file", key)...), web.URL+"/team/app")
			client, _, err := k.GitHub(t.Context(), "team", "app")
			if err == nil {
				_, err = client.Heads(t.Context(), "team", "app", "")
			}
			if tt.want == "" && (err != nil || len(w.masked) != 1) {
				t.Errorf("%v (%s), masked %d", err, fault.HintOf(err), len(w.masked))
			}
			if tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("%v, want %s", err, tt.want)
			}
			if tt.name == "nobody" && !strings.Contains(fault.HintOf(err), "--git-ca-file") {
				t.Errorf("hint %q", fault.HintOf(err))
			}
		})
	}
}

// keyring is what the flags hold, for a command that works with a remote.
func keyring(t *testing.T, c *cli.Console, f *Flags, remote string) *Keyring {
	t.Helper()
	k, err := f.Keyring(c)
	if err != nil {
		t.Fatal(err)
	}
	r, err := repo.NoCheckout(f.Options(c))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.Close() })
	if err := k.Home(r, remote); err != nil {
		t.Fatal(err)
	}
	return k
}

// An App's token takes no more time than its user has.
func TestAppTokenInTime(t *testing.T) {
	_, _, key := hub(t)
	ctx, cancel := context.WithCancel(t.Context())
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		cancel()
		<-r.Context().Done()
	}))
	t.Cleanup(silent.Close)
	c, _ := console(map[string]string{"GITHUB_API_URL": silent.URL, "GITHUB_SERVER_URL": silent.URL}, "")
	k := keyring(t, c, parse(t, "--app-id", "7", "--app-key-file", key), silent.URL+"/team/app")
	if _, _, err := k.GitHub(ctx, "team", "app"); !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

// An App's key signs nothing that others could read on the way.
func TestAppNeedsEncryption(t *testing.T) {
	_, _, key := hub(t)
	const api = "http://ghe.example.com/api/v3"
	c, _ := console(map[string]string{"GITHUB_API_URL": api, "GITHUB_SERVER_URL": "http://ghe.example.com"}, "")
	k := keyring(t, c, parse(t, "--app-id", "7", "--app-key-file", key), "http://ghe.example.com/team/app")
	_, _, err := k.GitHub(t.Context(), "team", "app")
	if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), "send the key of the App 7 to http://ghe.example.com: it would be readable on the way") {
		t.Error(err)
	}
}
