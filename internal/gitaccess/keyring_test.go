package gitaccess

import (
	"net/url"
	"testing"
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
