package access_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/spf13/pflag"

	"github.com/ksera524/imgbump/internal/access"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/githubactions"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
)

// console has the environment env; what it says is in stderr.
func console(env map[string]string, stdin string) (c *cli.Console, stderr *bytes.Buffer) {
	stderr = &bytes.Buffer{}
	getenv := func(name string) string { return env[name] }
	return &cli.Console{
		Streams:  cli.Streams{In: strings.NewReader(stdin), Out: &bytes.Buffer{}, Err: stderr, Getenv: getenv},
		Workflow: githubactions.New(getenv, stderr),
	}, stderr
}

func parse(t *testing.T, args ...string) *access.Flags {
	t.Helper()
	var f access.Flags
	flags := pflag.NewFlagSet("test", pflag.ContinueOnError)
	f.Bind(flags)
	f.BindProject(flags)
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	return &f
}

func TestReferences(t *testing.T) {
	harbor := map[string]string{"HARBOR_URL": "https://harbor.example.com:8443/", "HARBOR_PROJECT": "team"}
	for _, tt := range []struct {
		env        map[string]string
		args       []string
		in, want   string
		part, hint string
	}{
		{in: "harbor.example.com/team/app:1", want: "harbor.example.com/team/app:1"},
		{in: "localhost/app", want: "localhost/app:latest"},
		{env: harbor, in: "other.example.com/x/app:1", want: "other.example.com/x/app:1"},
		{env: harbor, in: "app:1", want: "harbor.example.com:8443/team/app:1"},
		{env: harbor, in: "sub/app:1", want: "harbor.example.com:8443/team/sub/app:1"},
		{env: harbor, in: "team/app:1", want: "harbor.example.com:8443/team/app:1"},
		{env: harbor, args: []string{"--project", "else"}, in: "app:1", want: "harbor.example.com:8443/else/app:1"},
		{env: map[string]string{"HARBOR_URL": "harbor.example.com"}, in: "team/app:1", want: "harbor.example.com/team/app:1"},
		{env: map[string]string{"HARBOR_URL": "harbor.example.com"}, in: "app:1", part: "names no registry", hint: "HARBOR_PROJECT"},
		{env: map[string]string{"HARBOR_URL": "HTTPS://harbor.example.com:443"}, in: "team/app:1", want: "harbor.example.com/team/app:1"},
		{env: map[string]string{"HARBOR_URL": "http://[::1]:80/"}, in: "team/app:1", want: "[::1]/team/app:1"},
		{env: map[string]string{"HARBOR_URL": "http://harbor.example.com:443"}, in: "team/app:1", want: "harbor.example.com:443/team/app:1"},
		{in: "team/app:1", part: "names no registry", hint: "HARBOR_URL"},
		{env: map[string]string{"HARBOR_URL": "https://bad_host", "HARBOR_PROJECT": "team"}, in: "app:1", part: "bad_host", hint: "check HARBOR_URL"},
		{in: "Owner/app:V1", part: "lower case", hint: "did you mean owner/app:V1?"},
		{in: "localhost:5000/Owner/App", part: "lower case", hint: "did you mean localhost:5000/owner/app?"},
		{in: "a b", part: "no repository component", hint: "for example"},
	} {
		c, stderr := console(tt.env, "")
		got, err := parse(t, tt.args...).References(t.Context(), c, []string{tt.in})
		if tt.part != "" {
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.part) || !strings.Contains(fault.HintOf(err), tt.hint) {
				t.Errorf("%s: error %v, hint %q; want %q, %q", tt.in, err, fault.HintOf(err), tt.part, tt.hint)
			}
			continue
		}
		if err != nil || got[0].String() != tt.want {
			t.Errorf("%s: %v, %v; want %s", tt.in, got, err, tt.want)
		}
		if said := stderr.String() != ""; said != (tt.in != tt.want) {
			t.Errorf("%s: stderr %q", tt.in, stderr)
		}
	}
}

func TestOptions(t *testing.T) {
	ref, err := imageref.Parse("first.example.com/team/app:1")
	if err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		env   map[string]string
		args  []string
		stdin string
		want  registry.Options
	}{
		"nothing": {},
		"environment, for the first reference's host": {
			env:  map[string]string{"HARBOR_USERNAME": "u", "HARBOR_PASSWORD": "p"},
			want: registry.Options{Credential: registry.Credential{Host: "first.example.com", Username: "u", Password: "p"}},
		},
		"for HARBOR_URL's host, over HTTP": {
			env:  map[string]string{"HARBOR_URL": "http://harbor.example.com/", "HARBOR_USERNAME": "u", "HARBOR_PASSWORD": "p"},
			want: registry.Options{Credential: registry.Credential{Host: "harbor.example.com", Username: "u", Password: "p"}, PlainHTTP: []string{"harbor.example.com"}},
		},
		"flags win": {
			env:   map[string]string{"HARBOR_USERNAME": "u", "HARBOR_PASSWORD": "p"},
			args:  []string{"--username", "v", "--password-stdin", "--plain-http", "--resolve", "a.example.com:443:10.0.0.1", "--resolve", "b.example.com:[::1]"},
			stdin: "q\n",
			want: registry.Options{Credential: registry.Credential{Host: "first.example.com", Username: "v", Password: "q"},
				PlainHTTP: []string{"first.example.com", "docker.io", "first.example.com"}, Resolve: map[string]string{"a.example.com:443": "10.0.0.1", "b.example.com": "::1"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _ := console(tt.env, tt.stdin)
			got, err := parse(t, tt.args...).Options(t.Context(), c, []imageref.Ref{{Repository: "redis", Tag: "1"}, ref})
			if err != nil {
				t.Fatal(err)
			}
			got.UserAgent = ""
			if len(got.Resolve) == 0 {
				got.Resolve = nil
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestHarborURLKeepsItsSecrets has a login in HARBOR_URL, in more and less readable addresses.
func TestHarborURLKeepsItsSecrets(t *testing.T) {
	for address, part := range map[string]string{
		"https://bob:s3cret@harbor.example.com": "holds a login",
		"bob:s3cret@harbor.example.com":         "holds a login",
		"https://s3cret@harbor.example.com":     "holds a login",
		"https://bob:%s3cret@harbor":            "is not the http:// or https:// address",
		"ftp://bob:s3cret@harbor":               "is not the http:// or https:// address",
		"https://":                              "is not the http:// or https:// address",
		"http://harbor.example.com/s3cret":      "has more than a host",
		"https://harbor.example.com/?t=s3cret":  "has more than a host",
	} {
		c, stderr := console(map[string]string{"HARBOR_URL": address, "HARBOR_PROJECT": "team"}, "")
		_, errRefs := parse(t).References(t.Context(), c, []string{"app:1"})
		_, errOptions := parse(t).Options(t.Context(), c, nil)
		for _, err := range []error{errRefs, errOptions} {
			if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), part) || fault.HintOf(err) == "" {
				t.Errorf("%s: %v", address, err)
			}
			if err != nil && strings.Contains(err.Error()+fault.HintOf(err)+stderr.String(), "s3cret") {
				t.Errorf("%s: %v tells the password", address, err)
			}
		}
	}
}

func TestOptionsRefuse(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty.pem")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for part, tt := range map[string]struct {
		env   map[string]string
		args  []string
		stdin string
	}{
		"there is no password on standard input": {env: map[string]string{"HARBOR_PASSWORD": "p"}, args: []string{"--username", "u", "--password-stdin"}, stdin: "\n"},
		"more than 65536 bytes":                  {args: []string{"--username", "u", "--password-stdin"}, stdin: strings.Repeat("x", 65537)},
		"a password, but no user":                {env: map[string]string{"HARBOR_PASSWORD": "p"}},
		"a user, but no password":                {args: []string{"--username", "u"}},
		"holds no certificate":                   {args: []string{"--ca-file", empty}},
		"no such file":                           {args: []string{"--ca-file", empty + ".nosuch"}},
		`"a"`:                                    {args: []string{"--resolve", "a"}},
		`"a:"`:                                   {args: []string{"--resolve", "a:"}},
		`"a:[b]"`:                                {args: []string{"--resolve", "a:[b]"}},
		`"a.test:8443"`:                          {args: []string{"--resolve", "a.test:8443"}},
		`"a:::1"`:                                {args: []string{"--resolve", "a:::1"}},
	} {
		c, _ := console(tt.env, tt.stdin)
		_, err := parse(t, tt.args...).Options(t.Context(), c, nil)
		if fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), part) {
			t.Errorf("%v: error %v, want %q", tt.args, err, part)
		}
	}
}

// TestPasswordIsReadOnce asks for the way to registries twice, as a command does that serves several branches.
func TestPasswordIsReadOnce(t *testing.T) {
	c, _ := console(nil, "q\n")
	f := parse(t, "--username", "u", "--password-stdin")
	for range 2 {
		if o, err := f.Options(t.Context(), c, []imageref.Ref{{Registry: "a.test", Repository: "b"}}); err != nil || o.Credential.Password != "q" {
			t.Errorf("%+v, %v", o.Credential, err)
		}
	}
}
