package openssh

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/ksera524/imgbump/internal/fault"
)

// GitHub's host keys, as it publishes them ("GitHub's SSH key fingerprints" in its documentation, ssh_keys of its
// API's /meta). ssh.github.com is the same server on port 443.
const githubKeys = `github.com,[ssh.github.com]:443 ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl
github.com,[ssh.github.com]:443 ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBEmKSENjQEezOmxkZMy7opKgwFB9nkt5YRrYMjNuG5N87uRgg6CLrbo5wAdT/y6v0mKV0U2w0WZ2YB/++Tpockg=
github.com,[ssh.github.com]:443 ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABgQCj7ndNxQowgcQnjshcLrqPEiiphnt+VTTvDP6mHBL9j1aNUkY4Ue1gvwnGLVlOhGeYrnZaMgRK6+PKCUXaDbC7qtbW8gIkhL7aGCsOr/C56SJMy/BCZfxd1nWzAOxSDPgVsmerOBYfNqltV9/hWCqBywINIR+5dIg6JTJ72pcEpEjcYgXkE2YEFXV1JHnsKgbLWNlhScqb2UmyRkQyytRLtL+38TGxkxCflmO+5Z8CSSNY7GidjMIZ7Q4zMjA2n1nGrlTDkzwDCsw+wqFPGQA179cnfGWOWRVruj16z6XyvxvjJwbz0wQZ75XK5tKSb7FNyeIEs4TT4jk+S4dhPeAUC5y+bDYirYgM4GC7uEnztnZyaVWQ7B381AK4Qdrwt51ZqExKbQpTUNn+EjqoTwvqNj4kqx5QUCI0ThS/YkOxJCXmPUWZbhjpCg56i+2aB6CmK2JGhn57K5mj0MNdBXA4/WnwH6XoPWJzK5Nyu2zB3nAZp+S5hpQs+p1vN1/wsjk=
`

// knownHosts are the host keys that are known for one server (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
type knownHosts struct {
	name    string // as the files have it: HOST, or [HOST]:PORT
	host    string // as certificates have it
	file    string // where the user would add a key
	lax     string // the StrictHostKeyChecking that is configured and not followed
	entries []knownKey
}

type knownKey struct {
	marker string // "", "cert-authority" or "revoked"
	key    ssh.PublicKey
	where  string // file:line
}

// knownHosts reads the files that the configuration names. One that was asked for by name must be there.
func (c *config) knownHosts() (*knownHosts, error) {
	host := cmp.Or(c.value("hostkeyalias"), c.hostName())
	k := &knownHosts{name: strings.ToLower(host), host: host}
	if port := cmp.Or(c.value("port"), "22"); port != "22" && c.value("hostkeyalias") == "" {
		k.name = "[" + k.name + "]:" + port
	}
	if strict := strings.ToLower(c.value("stricthostkeychecking")); strict == "no" || strict == "off" || strict == "accept-new" {
		k.lax = strict
	}
	user, global := c.values("userknownhostsfile"), c.values("globalknownhostsfile")
	if user == nil {
		user = []string{"~/.ssh/known_hosts", "~/.ssh/known_hosts2"}
	}
	if global == nil {
		global = []string{"/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"}
	}
	for _, file := range c.files(append(user, global...)...) {
		if file != os.DevNull {
			k.file = cmp.Or(k.file, file)
		}
		data, err := os.ReadFile(file)
		if err == nil {
			k.read(string(data), file)
		} else if file == c.asked {
			return nil, &fault.Error{Kind: fault.Usage, What: "read the known hosts", Where: file, Err: fault.Cause(err),
				Hint: "ssh-keyscan HOST prints its lines; compare the keys with what the server's owner says"}
		}
	}
	k.read(githubKeys, "built in")
	return k, nil
}

// read takes the lines that hold for the server. What it does not understand it passes over, as ssh does.
func (k *knownHosts) read(text, file string) {
	number := 0
	for line := range strings.Lines(text) {
		number++
		marker, hosts, key, _, _, err := ssh.ParseKnownHosts([]byte(line))
		if err == nil && k.named(hosts) {
			k.entries = append(k.entries, knownKey{marker, key, fmt.Sprintf("%s:%d", file, number)})
		}
	}
}

// named reports whether a line's hosts, patterns or one hashed name, are the server.
func (k *knownHosts) named(hosts []string) bool {
	if len(hosts) != 1 || !strings.HasPrefix(hosts[0], "|1|") {
		return matchAny(hosts, k.name)
	}
	salt, want, _ := strings.Cut(hosts[0][len("|1|"):], "|")
	key, err := base64.StdEncoding.DecodeString(salt)
	if err != nil {
		return false
	}
	hash := hmac.New(sha1.New, key) // the format's own choice
	hash.Write([]byte(k.name))
	return base64.StdEncoding.EncodeToString(hash.Sum(nil)) == want
}

// check decides whether the server is who it should be.
func (k *knownHosts) check(key ssh.PublicKey) error {
	certificates := &ssh.CertChecker{
		IsHostAuthority: func(authority ssh.PublicKey, _ string) bool { return k.has("cert-authority", authority) },
		IsRevoked:       func(c *ssh.Certificate) bool { return k.has("revoked", c.SignatureKey) || k.has("revoked", c.Key) },
		HostKeyFallback: func(_ string, _ net.Addr, key ssh.PublicKey) error { return k.checkPlain(key) },
	}
	err := certificates.CheckHostKey(net.JoinHostPort(k.host, "22"), nil, key)
	if _, known := errors.AsType[*fault.Error](err); err == nil || known {
		return err
	}
	return k.refuse(key, err, "let the server's owner renew its certificate")
}

func (k *knownHosts) has(marker string, key ssh.PublicKey) bool {
	return slices.ContainsFunc(k.entries, func(e knownKey) bool { return e.marker == marker && equal(e.key, key) })
}

func equal(a, b ssh.PublicKey) bool { return string(a.Marshal()) == string(b.Marshal()) }

func (k *knownHosts) checkPlain(key ssh.PublicKey) error {
	line := k.name + " " + strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key)))
	if k.has("revoked", key) {
		return k.refuse(key, errors.New("its host key is revoked"), "do not use it: ask the server's owner for its new key")
	}
	for _, known := range k.entries {
		if known.marker == "" && equal(known.key, key) {
			return nil
		}
	}
	for _, known := range k.entries {
		if known.marker == "" {
			return k.refuse(key, fmt.Errorf("its host key HAS CHANGED, or somebody is between you and it: %s says %s", known.where, fingerprint(known.key)),
				"ask the server's owner; only if the new key is right, replace the line "+known.where+" by: "+line)
		}
	}
	hint := "compare the fingerprint with what the server's owner says, then add this line to " + cmp.Or(k.file, "a file that --known-hosts names") + ": " + line
	if k.lax != "" {
		hint = "StrictHostKeyChecking=" + k.lax + " is not followed; " + hint
	}
	return k.refuse(key, errors.New("its host key is not known"), hint)
}

func (k *knownHosts) refuse(key ssh.PublicKey, why error, hint string) error {
	return &fault.Error{What: "trust", Where: k.name, Err: fmt.Errorf("%w; it shows %s", why, fingerprint(key)), Hint: hint}
}

func fingerprint(key ssh.PublicKey) string { return key.Type() + " " + ssh.FingerprintSHA256(key) }

// algorithms are those of host keys, the known ones first, so that the server shows a key that can be checked, then
// OpenSSH's favourite. Certificates count only where somebody who signs them is known.
func (k *knownHosts) algorithms() []string {
	certified := slices.ContainsFunc(k.entries, func(e knownKey) bool { return e.marker == "cert-authority" })
	all := slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys, func(a string) bool { return !certified && strings.Contains(a, "-cert-") })
	rank := func(algorithm string) int {
		switch {
		case slices.ContainsFunc(k.entries, func(e knownKey) bool { return e.uses(algorithm) }):
			return 0
		case algorithm == ssh.KeyAlgoED25519:
			return 1
		}
		return 2
	}
	slices.SortStableFunc(all, func(a, b string) int { return rank(a) - rank(b) })
	return all
}

// uses reports whether a server with the known key would be asked for the algorithm.
func (e knownKey) uses(algorithm string) bool {
	switch {
	case e.marker == "cert-authority":
		return strings.Contains(algorithm, "-cert-")
	case e.marker != "":
		return false
	case e.key.Type() == ssh.KeyAlgoRSA:
		return algorithm == ssh.KeyAlgoRSASHA256 || algorithm == ssh.KeyAlgoRSASHA512
	}
	return algorithm == e.key.Type()
}
