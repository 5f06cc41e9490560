package repo_test

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

const passphrase = "s3cret-canary"

// environment is a process's, for LoadSigner.
type environment map[string]string

func (e environment) get(name string) string { return e[name] }

// run runs a program of those that make keys.
func run(t *testing.T, env []string, program string, args ...string) string {
	t.Helper()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		errors.As(err, &exit)
		t.Fatalf("%s %q: %v\n%s", program, args, err, exit.Stderr)
	}
	return string(out)
}

// sshKey makes an SSH key and is its file; its public half lies beside it.
func sshKey(t *testing.T, args ...string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key")
	run(t, nil, "ssh-keygen", append([]string{"-q", "-a", "1", "-C", "ann@example.com", "-f", file}, args...)...)
	return file
}

func contents(t *testing.T, file string) string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

// withoutPrivate is the public half of a key in a folder of its own.
func withoutPrivate(t *testing.T, key string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "key.pub")
	if err := os.WriteFile(file, []byte(contents(t, key+".pub")), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}

// sshAgent starts an agent that holds the keys, and is its socket.
func sshAgent(t *testing.T, keys ...string) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	out := run(t, nil, "ssh-agent", "-a", socket)
	pid := regexp.MustCompile(`SSH_AGENT_PID=(\d+)`).FindStringSubmatch(out)
	if pid == nil {
		t.Fatalf("ssh-agent: %s", out)
	}
	t.Cleanup(func() { run(t, []string{"SSH_AGENT_PID=" + pid[1], "SSH_AUTH_SOCK=" + socket}, "ssh-agent", "-k") })
	if len(keys) > 0 {
		run(t, []string{"SSH_AUTH_SOCK=" + socket}, "ssh-add", append([]string{"-q"}, keys...)...)
	}
	return socket
}

// gpg runs gpg in a home of its own.
type gpg struct {
	*testing.T
	home string
}

func newGPG(t *testing.T) *gpg {
	t.Helper()
	home, err := os.MkdirTemp("", "gpg")
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("GNUPGHOME", home)
	// a passphrase is to be quick to try here
	if err := os.WriteFile(filepath.Join(home, "gpg-agent.conf"), []byte("s2k-count 65536\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		exec.Command("gpgconf", "--homedir", home, "--kill", "gpg-agent").Run()
		os.RemoveAll(home)
	})
	return &gpg{t, home}
}

func (g *gpg) run(args ...string) string {
	g.Helper()
	return run(g.T, nil, "gpg", append([]string{"--batch", "--yes", "--quiet", "--no-tty", "--pinentry-mode", "loopback", "--s2k-count", "65536", "--passphrase", ""}, args...)...)
}

// key makes a key of an algorithm for the given use and life, and is its fingerprint.
func (g *gpg) key(algorithm, use, life string, args ...string) string {
	g.Helper()
	before := len(g.fingerprints())
	g.run(append(args, "--quick-generate-key", "Änn <ann@example.com>", algorithm, use, life)...)
	return g.fingerprints()[before]
}

// fingerprints are those of all primary keys, in the order in which they were made.
func (g *gpg) fingerprints() (list []string) {
	g.Helper()
	primary := false
	for line := range strings.Lines(g.run("--list-keys", "--with-colons")) {
		field := strings.Split(line, ":")
		if field[0] == "fpr" && primary {
			list = append(list, field[9])
		}
		primary = field[0] == "pub"
	}
	return list
}

// subkey is the fingerprint of the last subkey of a key that is for the given use.
func (g *gpg) subkey(key, use string) (fingerprint string) {
	g.Helper()
	var field, above []string
	for line := range strings.Lines(g.run("--list-keys", "--with-colons", key)) {
		field, above = strings.Split(line, ":"), field
		if field[0] == "fpr" && above[0] == "sub" && above[11] == use {
			fingerprint = field[9]
		}
	}
	return fingerprint
}

func (g *gpg) file(content string) string {
	g.Helper()
	file := filepath.Join(g.TempDir(), "key")
	if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
		g.Fatal(err)
	}
	return file
}

const signedMessage = "chore: アプリを 1.5.0 へ\n\nGrüße\n\nReviewed-by: Ann\nImgbump: v1"

// commitWith makes a commit, is the checkout, and checks that nothing was warned of but warning.
func (w *world) commitWith(options repo.Options, configure map[string]string, warning string) string {
	w.Helper()
	dir := w.clone()
	for name, value := range configure {
		w.git(dir, "config", name, value)
	}
	options.Author, options.SignOff = repo.Signature{Name: "Änn", Email: "ann@example.com"}, true
	r, told := w.open(dir, options)
	b := r.Local()
	for _, content := range []string{"1", "2"} { // the second warns no more
		tip, err := b.Tip(w.Context())
		w.check(err)
		commit, err := b.Commit(w.Context(), tip, map[string][]byte{"README": []byte(content)}, signedMessage)
		w.check(err)
		_, err = b.Publish(w.Context(), tip, []string{commit})
		w.check(err)
	}
	w.equal("warnings", strings.Join(told.warnings, "\n"), warning)
	w.equal("message", w.git(dir, "log", "-1", "--format=%B"), signedMessage+"\nSigned-off-by: Änn <ann@example.com>")
	w.sound(dir)
	return dir
}

// verified has git judge the signature of a checkout's last commit.
func (w *world) verified(dir string, config ...string) {
	w.Helper()
	w.git(dir, append(config, "verify-commit", "HEAD")...)
	if out := w.git(dir, append(config, "log", "-1", "--show-signature")...); !strings.Contains(out, "Good ") {
		w.Errorf("log --show-signature:\n%s", out)
	}
	if got := w.git(dir, append(config, "log", "-1", "--format=%G?")...); got != "G" && got != "U" { // U: good, of unknown trust
		w.Errorf("%%G? is %s", got)
	}
}

// verifiedSSH has git judge it by the public half of a key alone.
func (w *world) verifiedSSH(dir, public string) {
	w.Helper()
	allowed := filepath.Join(w.TempDir(), "allowed")
	w.write(allowed, "ann@example.com "+public)
	w.verified(dir, "-c", "gpg.ssh.allowedSignersFile="+allowed)
}

func TestSignSSH(t *testing.T) {
	t.Parallel()
	plain := sshKey(t, "-t", "ed25519", "-N", "")
	locked := sshKey(t, "-t", "ed25519", "-N", passphrase)
	rsa := sshKey(t, "-t", "rsa", "-b", "2048", "-N", "")
	oldRSA := sshKey(t, "-t", "rsa", "-b", "2048", "-m", "PEM", "-N", passphrase)
	ecdsa := sshKey(t, "-t", "ecdsa", "-m", "PKCS8", "-N", "")
	agent := sshAgent(t, plain, rsa)
	unlocked := sshKey(t, "-t", "ed25519", "-N", passphrase) // locked in its file, and open in the agent
	run(t, nil, "cp", unlocked, unlocked+".open")
	run(t, nil, "ssh-keygen", "-q", "-p", "-P", passphrase, "-N", "", "-f", unlocked+".open")
	run(t, []string{"SSH_AUTH_SOCK=" + agent}, "ssh-add", "-q", unlocked+".open")
	for _, tt := range []struct {
		name, key, format string
		env               environment
		public            string
	}{
		{"file", plain, "", nil, plain},
		{"variable", "", "", environment{"IMGBUMP_SIGN_KEY": contents(t, plain)}, plain},
		{"variable, CRLF and no end", "", "ssh", environment{"IMGBUMP_SIGN_KEY": strings.ReplaceAll(strings.TrimSpace(contents(t, plain)), "\n", "\r\n")}, plain},
		{"passphrase", locked, "ssh", environment{"IMGBUMP_SIGN_KEY_PASSPHRASE": passphrase}, locked},
		{"passphrase that is not needed", plain, "", environment{"IMGBUMP_SIGN_KEY_PASSPHRASE": passphrase}, plain},
		{"RSA", rsa, "", nil, rsa},
		{"RSA, PEM, locked", oldRSA, "", environment{"IMGBUMP_SIGN_KEY_PASSPHRASE": passphrase}, oldRSA},
		{"ECDSA, PKCS #8", ecdsa, "", nil, ecdsa},
		{"agent by file", withoutPrivate(t, plain), "", environment{"SSH_AUTH_SOCK": agent}, plain},
		{"agent by key", "key::" + contents(t, rsa+".pub"), "", environment{"SSH_AUTH_SOCK": agent}, rsa},
		{"agent for a locked file", unlocked, "", environment{"SSH_AUTH_SOCK": agent}, unlocked},
		{"private half beside", locked + ".pub", "", environment{"SSH_AUTH_SOCK": agent, "IMGBUMP_SIGN_KEY_PASSPHRASE": passphrase}, locked},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			signer, err := repo.LoadSigner(tt.key, tt.format, tt.env.get)
			w.check(err)
			dir := w.commitWith(repo.Options{Signer: signer}, nil, "")
			w.verifiedSSH(dir, contents(t, tt.public+".pub"))
			fingerprint := strings.Fields(run(t, nil, "ssh-keygen", "-lf", tt.public+".pub"))[1]
			w.equal("name", signer.Name(), "SSH key "+fingerprint)
		})
	}
}

func TestSignOpenPGP(t *testing.T) {
	g := newGPG(t)
	plain := g.key("ed25519", "default", "never")
	locked := g.key("rsa2048", "sign", "never", "--passphrase", passphrase)
	subkeys := g.key("ed25519", "cert", "never")
	g.run("--quick-add-key", subkeys, "cv25519", "encr")
	g.run("--faked-system-time", "20200101T000000!", "--ignore-time-conflict", "--quick-add-key", subkeys, "ed25519", "sign", "1d")
	g.run("--faked-system-time", "20210101T000000!", "--ignore-time-conflict", "--quick-add-key", subkeys, "ed25519", "sign")
	g.run("--quick-add-key", subkeys, "ed25519", "sign")
	newest := g.subkey(subkeys, "s")
	g.run("--quick-add-key", subkeys, "rsa2048", "auth")
	for _, tt := range []struct {
		name, key, format string
		env               environment
		of                string
	}{
		{"armored", g.file(g.run("--armor", "--export-secret-keys", plain)), "", nil, plain},
		{"binary", g.file(g.run("--export-secret-keys", plain)), "openpgp", nil, plain},
		{"variable", "", "", environment{"IMGBUMP_SIGN_KEY": g.run("--armor", "--export-secret-keys", plain)}, plain},
		{"passphrase", g.file(g.run("--armor", "--passphrase", passphrase, "--export-secret-keys", locked)), "", environment{"IMGBUMP_SIGN_KEY_PASSPHRASE": passphrase}, locked},
		{"subkey", g.file(g.run("--armor", "--export-secret-keys", subkeys)), "", nil, newest},
		{"subkey without the primary", g.file(g.run("--armor", "--export-secret-subkeys", subkeys)), "", nil, newest},
		{"the second of two", g.file(g.run("--export", plain) + g.run("--export-secret-keys", subkeys)), "", nil, newest},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			signer, err := repo.LoadSigner(tt.key, tt.format, tt.env.get)
			w.check(err)
			dir := w.commitWith(repo.Options{Signer: signer}, nil, "")
			w.verified(dir)
			w.equal("name", signer.Name(), "OpenPGP key "+tt.of)
		})
	}
}

func TestSignRefused(t *testing.T) {
	g := newGPG(t)
	plain, locked := sshKey(t, "-t", "ed25519", "-N", ""), sshKey(t, "-t", "ed25519", "-N", passphrase)
	pkcs8 := sshKey(t, "-t", "rsa", "-b", "2048", "-m", "PKCS8", "-N", passphrase)
	stranger := withoutPrivate(t, plain)
	if err := os.WriteFile(strings.TrimSuffix(stranger, ".pub"), []byte(contents(t, locked)), 0o600); err != nil {
		t.Fatal(err)
	}
	agent := sshAgent(t)
	pgp, lockedPGP := g.key("ed25519", "sign", "never"), g.key("ed25519", "sign", "never", "--passphrase", passphrase)
	expired := g.key("ed25519", "sign", "1y", "--faked-system-time", "20200101T000000!")
	revoked, encrypting := g.key("ed25519", "sign", "never"), g.key("rsa2048", "cert,encrypt", "never")
	certificate := strings.ReplaceAll(contents(t, filepath.Join(g.home, "openpgp-revocs.d", revoked+".rev")), "\n:---", "\n---")
	g.run("--import", g.file(certificate))
	offline := g.key("ed25519", "default", "never")
	secret := func(id string) string {
		return g.file(g.run("--armor", "--passphrase", passphrase, "--export-secret-keys", id))
	}
	wrong := environment{"IMGBUMP_SIGN_KEY_PASSPHRASE": "wr0ng-canary"}
	for _, tt := range []struct {
		name, key, format string
		env               environment
		want, hint        string
	}{
		{"missing", "/nowhere/key", "", nil, "sign with /nowhere/key: no such file or directory", "private key"},
		{"folder", t.TempDir(), "", nil, "is a directory", "private key"},
		{"on the command line", contents(t, plain), "", nil, "--sign-key was given the private key itself", "IMGBUMP_SIGN_KEY"},
		{"format", plain, "gpg", nil, `--sign-format "gpg" is unknown`, "ssh or openpgp"},
		{"x509", plain, "x509", nil, "--sign-format x509 is not supported", "SSH"},
		{"certificate", g.file("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"), "", nil, "x509 signatures are not supported", "SSH"},
		{"other format", plain, "openpgp", nil, "it is not of the format openpgp", "--sign-format"},
		{"format without a key", "", "ssh", nil, "there is no key to sign with", "--sign-key"},
		{"empty", os.DevNull, "", nil, "it is empty", "private key"},
		{"no key", g.file("hello"), "", nil, "it holds no key", "BEGIN"},
		{"half a key", g.file(contents(t, plain)[:200]), "", nil, "sign with", "whole"},
		{"line breaks lost", "", "", environment{"IMGBUMP_SIGN_KEY": strings.ReplaceAll(contents(t, plain), "\n", " ")}, "sign with IMGBUMP_SIGN_KEY", "line breaks"},
		{"locked", locked, "", nil, "it is locked with a passphrase", "IMGBUMP_SIGN_KEY_PASSPHRASE"},
		{"wrong passphrase", locked, "", wrong, "the passphrase does not unlock it", "IMGBUMP_SIGN_KEY_PASSPHRASE"},
		{"encrypted PKCS #8", pkcs8, "", wrong, "encrypted PKCS #8 is not supported", "ssh-keygen -p"},
		{"public, no agent", withoutPrivate(t, plain), "", nil, "it is a public key, and no SSH agent runs", "SSH agent"},
		{"public, not in the agent", withoutPrivate(t, plain), "", environment{"SSH_AUTH_SOCK": agent}, "the SSH agent does not have its private half", "private key"},
		{"public, agent gone", withoutPrivate(t, plain), "", environment{"SSH_AUTH_SOCK": agent + "x"}, "the SSH agent cannot be reached", "private key"},
		{"public, a stranger beside", stranger, "", environment{"IMGBUMP_SIGN_KEY_PASSPHRASE": passphrase}, "key is not its private half", "private key"},
		{"OpenPGP, public", g.file(g.run("--armor", "--export", pgp)), "", nil, "it is a public key, without the private half", "--export-secret-keys"},
		{"OpenPGP, locked", secret(lockedPGP), "", nil, "it is locked with a passphrase", "IMGBUMP_SIGN_KEY_PASSPHRASE"},
		{"OpenPGP, wrong passphrase", secret(lockedPGP), "", wrong, "the passphrase does not unlock it", "IMGBUMP_SIGN_KEY_PASSPHRASE"},
		{"OpenPGP, expired", secret(expired), "", nil, "it expired on 20", "--export-secret-keys"},
		{"OpenPGP, revoked", secret(revoked), "", nil, "it is revoked", "--export-secret-keys"},
		{"OpenPGP, not for signing", secret(encrypting), "", nil, "none of its keys may sign", "--export-secret-keys"},
		{"OpenPGP, kept elsewhere", g.file(g.run("--armor", "--export-secret-subkeys", offline)), "", nil, "without the private half", "--export-secret-keys"},
		{"OpenPGP, half a key", g.file(contents(t, secret(pgp))[:200]), "", nil, "sign with", "whole"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			signer, err := repo.LoadSigner(tt.key, tt.format, tt.env.get)
			if err == nil || signer != nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("%v, %v; want %s", signer, err, tt.want)
			}
			hint := fault.HintOf(err)
			if fault.KindOf(err) != fault.Usage || !strings.Contains(hint, tt.hint) {
				t.Errorf("kind %v, hint %q; want %s", fault.KindOf(err), hint, tt.hint)
			}
			if all := err.Error() + hint; strings.Contains(all, "canary") || strings.Contains(all, "b3BlbnNzaC1rZXk") {
				t.Errorf("a secret shows: %s", all)
			}
		})
	}
}

// What git is configured to sign with is followed where we can, and warned of once where we cannot.
func TestSignAsGitIsConfigured(t *testing.T) {
	t.Parallel()
	plain, locked := sshKey(t, "-t", "ed25519", "-N", ""), sshKey(t, "-t", "ed25519", "-N", passphrase)
	agent := sshAgent(t, plain)
	const unsigned = "git's commit.gpgSign asks for signed commits, but ours is not signed: "
	for _, tt := range []struct {
		name    string
		config  map[string]string
		env     environment
		warning string
	}{
		{"off", map[string]string{"commit.gpgsign": "false", "gpg.format": "ssh", "user.signingKey": plain}, nil, ""},
		{"file", map[string]string{"user.signingKey": plain}, nil, "signed"},
		{"file at home", map[string]string{"user.signingKey": "~/key"}, environment{"HOME": filepath.Dir(plain)}, "signed"},
		{"public half", map[string]string{"user.signingKey": plain + ".pub"}, nil, "signed"},
		{"key", map[string]string{"user.signingKey": "key::" + contents(t, plain+".pub")}, environment{"SSH_AUTH_SOCK": agent}, "signed"},
		{"key as of old", map[string]string{"user.signingKey": contents(t, plain+".pub")}, environment{"SSH_AUTH_SOCK": agent}, "signed"},
		{"locked", map[string]string{"user.signingKey": locked}, nil, unsigned + "sign with " + locked + ": it is locked with a passphrase; set IMGBUMP_SIGN_KEY_PASSPHRASE, or add the key to the SSH agent"},
		{"committed", map[string]string{"user.signingKey": "README"}, nil, unsigned + "user.signingKey README is not an absolute path; name a key with --sign-key"},
		{"no key", nil, nil, unsigned + "user.signingKey is not set; name a key with --sign-key"},
		{"OpenPGP", map[string]string{"gpg.format": "openpgp"}, nil, unsigned + "gpg's keyring is not read; export the key (gpg --export-secret-keys --armor), and name the file with --sign-key"},
		{"x509", map[string]string{"gpg.format": "x509"}, nil, unsigned + "gpg.format x509 is not supported; name a key with --sign-key"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			config := map[string]string{"commit.gpgsign": "true", "gpg.format": "ssh"}
			for name, value := range tt.config {
				config[name] = value
			}
			signed := tt.warning == "signed"
			warning := strings.TrimPrefix(tt.warning, "signed")
			dir := w.commitWith(repo.Options{Getenv: tt.env.get}, config, warning)
			if signed {
				w.verifiedSSH(dir, contents(t, plain+".pub"))
			} else if got := w.git(dir, "cat-file", "commit", "HEAD"); strings.Contains(got, "gpgsig") {
				w.Errorf("it is signed:\n%s", got)
			}
		})
	}
}

// Commits that GitHub signs are not ours to sign, whatever git is configured for.
func TestUnsigned(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.commitWith(repo.Options{Unsigned: true}, map[string]string{"commit.gpgsign": "true"}, "")
	if got := w.git(dir, "cat-file", "commit", "HEAD"); strings.Contains(got, "gpgsig") {
		w.Errorf("it is signed:\n%s", got)
	}
}

// A key that fails when it is needed fails the commit; nothing is made.
func TestSignFails(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	r, _ := w.open(dir, repo.Options{Signer: broken{}})
	b := r.Local()
	tip, err := b.Tip(t.Context())
	w.check(err)
	_, err = b.Commit(t.Context(), tip, map[string][]byte{"README": []byte("x")}, "x")
	w.equal("error", message(err), "sign with key 7: it fell into the sea")
	w.equal("HEAD", w.git(dir, "rev-parse", "HEAD"), tip)
}

type broken struct{}

func (broken) Name() string                { return "key 7" }
func (broken) Sign([]byte) ([]byte, error) { return nil, errors.New("it fell into the sea") }
