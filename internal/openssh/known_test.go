package openssh

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gittest"
)

// The fingerprints are those of GitHub's documentation.
func TestGitHubsKeys(t *testing.T) {
	want := []string{
		"ssh-ed25519 SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
		"ecdsa-sha2-nistp256 SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
		"ssh-rsa SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s",
	}
	for _, address := range []Address{{Host: "github.com"}, {Host: "GitHub.com", Port: "22"}, {Host: "ssh.github.com", Port: "443"}} {
		var got []string
		for _, entry := range known(t, address, "").entries {
			got = append(got, fingerprint(entry.key))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%+v: %q", address, got)
		}
	}
	for _, address := range []Address{{Host: "github.com", Port: "443"}, {Host: "github.com.example.com"}, {Host: "ssh.github.com"}} {
		if got := known(t, address, "").entries; len(got) > 0 {
			t.Errorf("%+v: GitHub's keys", address)
		}
	}
}

// known reads a file of known hosts for a server that nobody's configuration is about.
func known(t *testing.T, address Address, lines string) *knownHosts {
	t.Helper()
	file := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(file, []byte(lines), 0o600); err != nil {
		t.Fatal(err)
	}
	c, err := readConfig(address, Options{KnownHosts: file, Command: "ssh -F none", Getenv: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	k, err := c.knownHosts()
	if err != nil {
		t.Fatal(err)
	}
	k.file = "FILE"
	for i := range k.entries {
		k.entries[i].where = strings.Replace(k.entries[i].where, file, "FILE", 1)
	}
	return k
}

func key(t *testing.T, line string) ssh.PublicKey {
	t.Helper()
	key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line))
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func keygen(t *testing.T, args ...string) (public, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "key")
	public, err := gittest.Keygen(file, args...)
	if err != nil {
		t.Fatal(err)
	}
	return public, file
}

func TestKnownHosts(t *testing.T) {
	mine, _ := keygen(t)
	other, _ := keygen(t)
	ecdsa, _ := keygen(t, "-t", "ecdsa")
	hashed, hashedFile := keygen(t)
	if err := os.WriteFile(hashedFile, []byte("git.example.com "+hashed+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := gittest.Command("ssh-keygen", "-q", "-H", "-f", hashedFile); err != nil {
		t.Fatal(err)
	}
	hashedLine, err := os.ReadFile(hashedFile)
	if err != nil {
		t.Fatal(err)
	}
	server := Address{Host: "git.example.com"}
	for _, tt := range []struct {
		name    string
		address Address
		lines   string
		shown   string
		want    string // part of the error, "" for trusted
		hint    string
	}{
		{"known", server, "git.example.com " + mine, mine, "", ""},
		{"in other letters", Address{Host: "Git.Example.Com"}, "git.example.com " + mine, mine, "", ""},
		{"one of a list", server, "# hosts\n\nmail.example.com,git.example.com,10.0.0.1 " + mine, mine, "", ""},
		{"a pattern", server, "*.example.com " + mine, mine, "", ""},
		{"hashed", server, string(hashedLine), hashed, "", ""},
		{"hashed, another host", Address{Host: "x.example.com"}, string(hashedLine), hashed, "is not known", "x.example.com ssh-ed25519 "},
		{"excepted from a pattern", server, "*.example.com,!git.example.com " + mine, mine, "is not known", ""},
		{"another port", Address{Host: "git.example.com", Port: "2222"}, "git.example.com " + mine, mine, "trust [git.example.com]:2222: its host key is not known; it shows ssh-ed25519 SHA256:",
			"compare the fingerprint with what the server's owner says, then add this line to FILE: [git.example.com]:2222 ssh-ed25519 "},
		{"its port", Address{Host: "git.example.com", Port: "2222"}, "[git.example.com]:2222 " + mine, mine, "", ""},
		{"unknown", server, "", mine, "its host key is not known", "git.example.com " + mine[:60]},
		{"changed", server, "x y z\ngit.example.com " + other, mine, "its host key HAS CHANGED, or somebody is between you and it: FILE:2 says ssh-ed25519 SHA256:", "replace the line FILE:2 by: git.example.com ssh-ed25519 "},
		{"changed to another kind", server, "git.example.com " + ecdsa, mine, "HAS CHANGED", ""},
		{"one of two", server, "git.example.com " + ecdsa + "\ngit.example.com " + mine, mine, "", ""},
		{"revoked", server, "git.example.com " + mine + "\n@revoked * " + mine, mine, "its host key is revoked", "ask the server's owner"},
		{"revoked, another", server, "git.example.com " + mine + "\n@revoked * " + other, mine, "", ""},
		{"an authority is no host key", server, "@cert-authority * " + mine, mine, "is not known", ""},
		{"a kind nobody knows yet", server, "git.example.com ssh-future AAAA\ngit.example.com " + mine, mine, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			err := known(t, tt.address, tt.lines).check(key(t, tt.shown))
			if tt.want == "" {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.Contains(fault.HintOf(err), tt.hint) || fault.HintOf(err) == "" {
				t.Errorf("err %v, hint %q", err, fault.HintOf(err))
			}
		})
	}
}

func TestHostCertificates(t *testing.T) {
	authority, authorityFile := keygen(t)
	_, hostFile := keygen(t)
	if _, err := gittest.Command("ssh-keygen", "-q", "-s", authorityFile, "-I", "id", "-h", "-n", "git.example.com", hostFile+".pub"); err != nil {
		t.Fatal(err)
	}
	line, err := os.ReadFile(hostFile + "-cert.pub")
	if err != nil {
		t.Fatal(err)
	}
	shown := key(t, string(line))
	server := Address{Host: "git.example.com"}
	trusting := "@cert-authority *.example.com " + authority
	k := known(t, server, trusting)
	if err := k.check(shown); err != nil {
		t.Error(err)
	}
	if first := k.algorithms()[0]; !strings.Contains(first, "-cert-") {
		t.Errorf("asks for %s first", first)
	}
	for name, k := range map[string]*knownHosts{
		"another's certificate": known(t, Address{Host: "x.example.com"}, trusting),
		"an authority revoked":  known(t, server, trusting+"\n@revoked * "+authority),
		"no authority":          known(t, server, ""),
	} {
		if err := k.check(shown); err == nil {
			t.Errorf("%s: trusted", name)
		}
	}
}

// A server with several keys shows the one that is known.
func TestHostKeyAlgorithms(t *testing.T) {
	ecdsa, _ := keygen(t, "-t", "ecdsa")
	rsa, _ := keygen(t, "-t", "rsa", "-b", "2048")
	server := Address{Host: "h"}
	for _, tt := range []struct {
		lines string
		want  []string
	}{
		{"", []string{"ssh-ed25519"}},
		{"h " + ecdsa, []string{"ecdsa-sha2-nistp256"}},
		{"h " + rsa, []string{"rsa-sha2-256", "rsa-sha2-512"}},
		{"h " + rsa + "\nh " + ecdsa, []string{"ecdsa-sha2-nistp256", "rsa-sha2-256", "rsa-sha2-512"}},
		{"@revoked h " + ecdsa + "\nh " + rsa, []string{"rsa-sha2-256", "rsa-sha2-512"}},
	} {
		got := known(t, server, tt.lines).algorithms()
		first := slices.Sorted(slices.Values(got[:len(tt.want)]))
		if !slices.Equal(first, tt.want) {
			t.Errorf("asks for %q", got)
		}
		if slices.ContainsFunc(got, func(a string) bool { return strings.Contains(a, "-cert-") || a == ssh.KeyAlgoRSA || a == "ssh-dss" }) {
			t.Errorf("asks for what nobody can check: %q", got)
		}
	}
}
