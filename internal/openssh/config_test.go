package openssh

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	home := t.TempDir()
	if err := os.MkdirAll(filepath.Join(home, ".ssh", "more"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"config": `# the user's
Include more/*.conf
Host work
	HostName = git-%h.example.com
	User deploy
	Port 2222
	IdentityFile "~/keys/%h_%r key"
	IdentityFile ~/second
	UserKnownHostsFile ~/a ~/b relative none
Host * !github.com
	User everybody
Match host git-work.example.com
	HostKeyAlias matched
Match exec "touch /tmp/never"
	HostKeyAlias executed
Match originalhost w?rk
	IdentitiesOnly yes
Match all
	Port 99
`,
		"more/one.conf": "Host included\n Port 77\nInclude more/one.conf\n",
	} {
		if err := os.WriteFile(filepath.Join(home, ".ssh", name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	read := func(address Address, command string) *config {
		c, err := readConfig(address, Options{Command: command, Getenv: func(name string) string {
			return map[string]string{"HOME": home, "KEY": "/the key"}[name]
		}, Warn: func(text string) { t.Errorf("warned: %s", text) }})
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, tt := range []struct {
		address Address
		command string
		want    []string // host, port, user, alias, identitiesonly, identity files..., known hosts...
	}{
		{Address{Host: "work"}, "", []string{"git-work.example.com", "2222", "deploy", "matched", "yes", "HOME/keys/git-work.example.com_deploy key", "HOME/second", "HOME/a", "HOME/b"}},
		{Address{Host: "work", User: "me", Port: "1"}, "", []string{"git-work.example.com", "1", "me", "matched", "yes", "HOME/keys/git-work.example.com_me key", "HOME/second", "HOME/a", "HOME/b"}},
		{Address{Host: "github.com"}, "", []string{"github.com", "99", "", "", ""}},
		{Address{Host: "included"}, "", []string{"included", "77", "everybody", "", ""}},
		{Address{Host: "h", User: "u"}, `ssh -i "$KEY" -i'/x y' -p 7 -l root -oIdentitiesOnly=yes -o "UserKnownHostsFile /k" -F ~/none -q`, []string{"h", "7", "root", "", "yes", "/the key", "/x y", "/k"}},
		{Address{Host: "h"}, `/usr/bin/ssh -o "HostKeyAlias=\"${KEY}\"" -i \$HOME/x`, []string{"h", "99", "everybody", "/the key", ""}},
	} {
		c := read(tt.address, tt.command)
		got := []string{c.hostName(), c.value("port"), c.value("user"), c.value("hostkeyalias"), c.value("identitiesonly")}
		for _, o := range c.options {
			if o.keyword == "identityfile" {
				got = append(got, c.files(o.values...)...)
			}
		}
		got = append(got, c.files(c.values("userknownhostsfile")...)...)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], home, "HOME")
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%+v %s:\n got %q\nwant %q", tt.address, tt.command, got, tt.want)
		}
	}
}

func TestUnfollowed(t *testing.T) {
	for command, want := range map[string]string{
		"ssh -v -i /k -o BatchMode=yes -o ConnectTimeout=5": "",
		"ssh -J bastion -o ProxyCommand=nc":                 "-J,bastion,-o proxycommand",
		"/opt/plink -batch":                                 "the program plink",
		"FOO=1 ssh":                                         "the program FOO=1",
		"ssh -i $(cat /secret)":                             "a command with more than ssh and its options",
		"ssh -i \"`cat /secret`\"":                          "a command with more than ssh and its options",
		"ssh; rm -rf /":                                     "a command with more than ssh and its options",
		"ssh 'unclosed":                                     "a command with more than ssh and its options",
		"ssh \"unclosed":                                    "a command with more than ssh and its options",
		"ssh -i ${X:-y}":                                    "a command with more than ssh and its options",
		" ":                                                 "a command with more than ssh and its options",
	} {
		_, got := (&config{}).readCommand(command, func(string) string { return "" })
		if strings.Join(got, ",") != want {
			t.Errorf("%s: %q, want %q", command, got, want)
		}
	}
	var warnings []string
	_, err := readConfig(Address{Host: "h"}, Options{
		Command: "ssh -F none -o ProxyJump=bastion", Getenv: func(string) string { return "" },
		Warn: func(text string) { warnings = append(warnings, text) },
	})
	if err != nil || !slices.Equal(warnings, []string{"git's SSH command: -o proxyjump is not followed"}) {
		t.Errorf("%v, %q", err, warnings)
	}
}

func TestPatterns(t *testing.T) {
	for _, tt := range []struct {
		pattern, text string
		want          bool
	}{
		{"*", "anything", true}, {"*", "", true}, {"", "", true}, {"", "x", false}, {"a?c", "abc", true}, {"a?c", "ac", false},
		{"*.example.com", "a.b.example.com", true}, {"*.example.com", "example.com", false}, {"a*b*c", "aXbYbZc", true},
		{"a*b*c", "aXbYbZ", false}, {"10.0.?", "10.0.11", false}, {"**x", "x", true},
	} {
		if got := matchPattern(tt.pattern, tt.text); got != tt.want {
			t.Errorf("%q matches %q: %v", tt.pattern, tt.text, got)
		}
	}
}
