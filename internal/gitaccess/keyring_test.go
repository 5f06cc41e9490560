package gitaccess

import (
	"net/url"
	"testing"

	"github.com/ksera524/imgbump/internal/gitops/repo"
)

// A token of GitHub's is for its scheme, host and port alone.
func TestIsGitHub(t *testing.T) {
	for _, tt := range []struct {
		server, address string
		want            bool
	}{
		{"", "https://github.com/a/b", true},
		{"", "https://GitHub.com:443/a/b.git", true},
		{"", "https://api.github.com", true},
		{"", "http://github.com/a/b", false},
		{"", "https://github.com:8443/a/b", false},
		{"", "https://github.com.example.com/a/b", false},
		{"https://ghe.example.com/", "https://ghe.example.com/a/b", true},
		{"https://ghe.example.com/", "https://github.com/a/b", false},
		{"http://127.0.0.1:4000", "http://127.0.0.1:4000/a/b", true},
		{"http://127.0.0.1:4000", "https://127.0.0.1:4000/a/b", false},
	} {
		address, err := url.Parse(tt.address)
		if err != nil {
			t.Fatal(err)
		}
		getenv := func(name string) string { return map[string]string{"GITHUB_SERVER_URL": tt.server}[name] }
		if got := isGitHub(getenv, address); got != tt.want {
			t.Errorf("%s on %q: %v", tt.address, tt.server, got)
		}
	}
}

// Our own login goes to the server of the remote, GitHub's token to GitHub, and neither in the clear.
func TestCredential(t *testing.T) {
	environment := map[string]string{"IMGBUMP_TOKEN": "ours", "GITHUB_TOKEN": "github's", "GITHUB_SERVER_URL": "https://ghe.example.com"}
	for _, tt := range []struct{ home, address, want string }{
		{"git@git.example.com:team/app", "https://git.example.com/team/other", "ours"},
		{"ssh://git@git.example.com:22/team/app", "https://git.example.com/team/app", "ours"},
		{"https://git.example.com/team/app", "https://git.example.com:8443/team/app", ""},
		{"https://git.example.com/team/app", "https://other.example.com/team/app", ""},
		{"https://git.example.com/team/app", "https://ghe.example.com/team/app", "github's"},
		{"https://ghe.example.com/team/app", "https://ghe.example.com/team/app", "ours"},
		{"http://git.example.com/team/app", "http://git.example.com/team/app", "refused"},
		{"http://127.0.0.1:3000/team/app", "http://127.0.0.1:3000/team/app", "ours"},
		{"/srv/git/app", "https://git.example.com/team/app", ""},
		{"", "https://git.example.com/team/app", ""},
	} {
		k := &Keyring{getenv: func(name string) string { return environment[name] }}
		r, err := repo.NoCheckout(repo.Options{Getenv: k.getenv})
		if err != nil {
			t.Fatal(err)
		}
		if err := k.Home(r, tt.home); err != nil {
			t.Fatal(err)
		}
		address, err := url.Parse(tt.address)
		if err != nil {
			t.Fatal(err)
		}
		login, err := k.Credential(t.Context(), address)
		got := login.Secret
		if err != nil {
			got = "refused"
		}
		if got != tt.want {
			t.Errorf("%s for %q: %q, %v", tt.address, tt.home, got, err)
		}
	}
}
