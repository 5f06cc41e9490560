package repo_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

// In a checkout of another user's, its configuration runs nothing, and leads no login elsewhere; what actions/checkout left
// works all the same. Who trusts the checkout, as git has it, gets everything.
func TestForeignCheckout(t *testing.T) {
	me := os.Geteuid()
	for _, tt := range []struct {
		name    string
		user    int
		env     func(dir string) map[string]string
		trusted bool
	}{
		{"our own", me, nil, true},
		{"another user's", me + 1, nil, false},
		{"named", me + 1, func(dir string) map[string]string { return safe(dir) }, true},
		{"named with its folder", me + 1, func(dir string) map[string]string { return safe(filepath.Dir(dir) + "/*") }, true},
		{"all", me + 1, func(string) map[string]string { return safe("*") }, true},
		{"another one named", me + 1, func(dir string) map[string]string { return safe(dir + "x") }, false},
		{"named and cleared", me + 1, func(dir string) map[string]string { return safe(dir, "") }, false},
		{"the user's who called sudo", 0, func(string) map[string]string { return map[string]string{"SUDO_UID": fmt.Sprint(me)} }, true},
		{"not by sudo alone", me + 1, func(string) map[string]string { return map[string]string{"SUDO_UID": fmt.Sprint(me)} }, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if tt.user == 0 && me == 0 {
				t.Skip("root needs no sudo")
			}
			w, dir := private(t)
			ran := filepath.Join(t.TempDir(), "ran")
			w.git(dir, "config", "credential.helper", "!echo x >"+ran+"; echo username=x-access-token; echo password="+secret+"; :")
			w.git(dir, "config", "safe.directory", "*") // which counts not here
			env := map[string]string{"GIT_CONFIG_NOSYSTEM": "1"}
			if tt.env != nil {
				for name, value := range tt.env(dir) {
					env[name] = value
				}
			}
			repo.Become(t, tt.user)
			b, l := w.openRemote(dir, with(env))
			_, err := b.Tip(t.Context())
			_, not := os.Stat(ran)
			if tt.trusted != (err == nil) || tt.trusted != (not == nil) || tt.trusted != (len(l.warnings) == 0) {
				t.Errorf("%v, ran: %v, warnings %q", err, not, l.warnings)
			}
			if !tt.trusted && (fault.KindOf(err) != fault.Denied || !strings.Contains(l.warnings[0], "git config --global --add safe.directory "+dir)) {
				t.Errorf("%v, warnings %q", err, l.warnings)
			}
			w.git(dir, "config", "http."+w.server.URL+"/.extraheader", header(secret))
			b, _ = w.openRemote(dir, with(env))
			_, err = b.Tip(t.Context())
			w.check(err)
		})
	}
}

// safe is git's protected configuration for checkouts of others.
func safe(values ...string) map[string]string {
	env := map[string]string{"GIT_CONFIG_COUNT": fmt.Sprint(len(values))}
	for i, value := range values {
		env[fmt.Sprint("GIT_CONFIG_KEY_", i)], env[fmt.Sprint("GIT_CONFIG_VALUE_", i)] = "safe.directory", value
	}
	return env
}

// Nor does it say by which way a server is reached, or which one that is.
func TestForeignWays(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	for key, value := range map[string]string{
		"http.proxy": "http://127.0.0.1:1", "remote.origin.proxy": "http://127.0.0.1:1", "http.sslCAInfo": "/nowhere",
		"url.http://evil.example/.insteadOf": w.server.URL + "/", "core.sshCommand": "another-program",
	} {
		w.git(dir, "config", key, value)
	}
	repo.Become(t, os.Geteuid()+1)
	b, _ := w.openRemote(dir, with(nil))
	w.equal("URL", b.URL(), w.remote.URL)
	_, err := b.Tip(t.Context())
	w.check(err)
	r, _ := w.open(dir, with(nil))
	w.equal("proxy", r.ProxyOf("origin", "http://example.com"), "")
	w.git(dir, "remote", "set-url", "origin", "ssh://git@127.0.0.1:1/app.git")
	r, l := w.open(dir, with(map[string]string{"HOME": w.TempDir()}))
	_, err = r.Remote("origin", "")
	w.check(err)
	w.equal("warnings, none of the program that core.sshCommand names", len(l.warnings), 1)
}
