package repo_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/repo"
	"github.com/ksera524/imgbump/internal/gittest"
)

func (w *world) tags(dir string, options repo.Options) (*repo.Tags, *told) {
	w.Helper()
	r, l := w.open(dir, options)
	tags, err := r.Tags("origin")
	w.check(err)
	return tags, l
}

// list is what there is, in words: NAME COMMIT, with a * when the remote has it.
func (w *world) list(tags *repo.Tags) string {
	w.Helper()
	listed, err := tags.List(w.Context())
	w.check(err)
	var lines []string
	for _, t := range listed {
		line := t.Name + " " + t.Commit[:7]
		if t.Pushed {
			line += " *"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "\n")
}

func TestTagsList(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	first := w.git(w.remote.Dir, "rev-parse", "main")
	w.git(w.remote.Dir, "tag", "light", "main")
	w.git(w.remote.Dir, "tag", "-a", "-m", "x", "app/v1", "main")
	w.git(w.remote.Dir, "tag", "-a", "-m", "of a tag", "nested", "app/v1")
	dir := w.clone("--depth=1", "--no-tags")
	w.git(dir, "commit", "-q", "--allow-empty", "-m", "own")
	own := w.git(dir, "rev-parse", "HEAD")
	w.git(dir, "tag", "-a", "-m", "packed", "packed", "HEAD")
	w.git(dir, "pack-refs", "--all")
	w.git(dir, "tag", "-a", "-m", "loose", "app/v2", "HEAD")
	w.git(dir, "tag", "light", "HEAD") // the remote's counts
	before := w.git(dir, "count-objects", "-v")
	tags, _ := w.tags(dir, repo.Options{})
	w.equal("tags", w.list(tags), fmt.Sprintf("app/v1 %[1]s *\napp/v2 %[2]s\nlight %[1]s *\nnested %[1]s *\npacked %[2]s", first[:7], own[:7]))
	w.equal("objects", w.git(dir, "count-objects", "-v"), before)

	linked := filepath.Join(t.TempDir(), "linked") // the tags are all worktrees'
	w.git(dir, "worktree", "add", "-q", "--detach", linked)
	tags, _ = w.tags(linked, repo.Options{})
	w.equal("of a linked worktree", strings.Count(w.list(tags), "\n"), 4)
}

// Names that are no tag's are a hostile server's.
func TestTagsHostile(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	commit := w.git(w.remote.Dir, "rev-parse", "main")
	dir := w.clone()
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		out.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		line := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }
		fmt.Fprint(out, line("# service=git-upload-pack\n"), "0000", line(commit+" refs/heads/main\x00agent=x\n"))
		for _, name := range []string{"../../x", "a..b", "v1.0.0", "v2\x1b[31m"} {
			fmt.Fprint(out, line(commit+" refs/tags/"+name+"\n"))
		}
		fmt.Fprint(out, "0000")
	}))
	defer server.Close()
	w.git(dir, "remote", "set-url", "origin", server.URL)
	tags, _ := w.tags(dir, repo.Options{})
	w.equal("tags", w.list(tags), "v1.0.0 "+commit[:7]+" *")
}

// In any history, from any clone, Since is what git log BASE..COMMIT is.
func TestTagsSince(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	random := rand.New(rand.NewPCG(7, 7))
	full := w.clone()
	made := []string{w.git(full, "rev-parse", "HEAD")}
	tree := w.git(full, "rev-parse", "HEAD^{tree}")
	push := []string{"push", "-q", "origin"}
	for i := range 40 {
		args := []string{"commit-tree", tree, "-m", fmt.Sprint("commit ", i)}
		for _, at := range random.Perm(min(len(made), 8))[:1+random.IntN(min(len(made), 2))] {
			args = append(args, "-p", made[len(made)-1-at])
		}
		made = append(made, w.git(full, args...))
		push = append(push, made[i+1]+":refs/heads/at/"+fmt.Sprint(i))
	}
	w.git(full, push...)
	for range 5 {
		base, tip := made[random.IntN(len(made))], made[random.IntN(len(made))]
		want := strings.Fields(strings.ReplaceAll(w.git(full, "log", "--format=%s", base+".."+tip), " ", "_"))
		slices.Sort(want)
		w.git(w.remote.Dir, "update-ref", "refs/heads/main", tip)
		for _, args := range [][]string{{}, {"--depth=1", "--no-tags"}, {"--depth=3"}, {"--filter=tree:0", "--no-checkout"}} {
			tags, _ := w.tags(w.clone(args...), repo.Options{})
			messages, err := tags.Since(t.Context(), base, tip, nil)
			w.check(err)
			got := strings.Fields(strings.ReplaceAll(strings.Join(messages, ""), " ", "_"))
			slices.Sort(got)
			w.equal(fmt.Sprintf("%v %s..%s", args, base[:7], tip[:7]), strings.Join(got, " "), strings.Join(want, " "))
		}
	}
}

// A branch that was merged is cut off in the clone, though the base is there.
func TestTagsSinceCut(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	full := w.clone()
	base := w.git(full, "rev-parse", "HEAD")
	w.git(full, "checkout", "-q", "-b", "side")
	for _, subject := range []string{"one", "two", "three"} {
		w.git(full, "commit", "-q", "--allow-empty", "-m", subject)
	}
	w.git(full, "checkout", "-q", "main")
	w.git(full, "merge", "-q", "--no-ff", "-m", "merge", "side")
	w.git(full, "push", "-q", "origin", "main")
	dir := w.clone("--depth=2")
	w.git(dir, "cat-file", "-e", base)
	tags, _ := w.tags(dir, repo.Options{})
	messages, err := tags.Since(t.Context(), base, w.git(full, "rev-parse", "HEAD"), nil)
	w.check(err)
	slices.Sort(messages)
	w.equal("messages", messages, []string{"merge\n", "one\n", "three\n", "two\n"})
}

// What a shallow clone lacks is asked for once, and without files where the server leaves them out.
func TestTagsSinceSparing(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	base := w.git(w.remote.Dir, "rev-parse", "main")
	w.wide()
	tip := w.git(w.remote.Dir, "rev-parse", "main")
	dir := w.clone("--depth=1")
	var bodies []string
	front := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(body))
		r.Body = io.NopCloser(bytes.NewReader(body))
		w.server.ServeHTTP(out, r)
	}))
	defer front.Close()
	w.git(dir, "remote", "set-url", "origin", front.URL+"/org/app.git")
	tags, _ := w.tags(dir, repo.Options{})
	messages, err := tags.Since(t.Context(), base, tip, nil)
	w.check(err)
	w.equal("messages", messages, []string{"somebody's commit"})
	w.equal("requests", len(bodies), 2)
	if !strings.Contains(bodies[1], "filter tree:0") || !strings.Contains(bodies[1], "have "+base) {
		w.Errorf("%q", bodies[1])
	}
	_, err = tags.Since(t.Context(), base, tip, []string{"other/1"})
	w.check(err)
	if last := bodies[len(bodies)-1]; len(bodies) != 4 || !strings.Contains(last, "filter blob:none") || !strings.Contains(last, "deepen 1") {
		w.Errorf("%d requests, the last %q", len(bodies), last)
	}
	w.clean(dir)
}

// The commits that change a path, in any clone, in two requests at most.
func TestTagsSincePaths(t *testing.T) {
	t.Parallel()
	w := newWorld(t, gittest.Options{})
	base := w.git(w.remote.Dir, "rev-parse", "main")
	full := w.clone()
	commit := func(subject string, files ...string) {
		for i := 0; i < len(files); i += 2 {
			w.check(os.MkdirAll(filepath.Dir(filepath.Join(full, files[i])), 0o755))
			w.write(full, files[i], files[i+1])
		}
		w.git(full, "add", ".")
		w.git(full, "commit", "-q", "--allow-empty", "-m", subject)
	}
	commit("a", "apps/a/dep.yaml", "2")
	commit("b", "apps/b/dep.yaml", "2", "README", "2")
	w.git(full, "checkout", "-q", "-b", "side", base)
	commit("side", "apps/a/new/file", "1")
	w.git(full, "checkout", "-q", "main")
	w.git(full, "merge", "-q", "--no-ff", "-m", "merge", "side")
	commit("nothing")
	commit("file for a folder", "apps/c", "1")
	commit("a-b", "apps/a-b.yaml", "2")
	w.git(full, "push", "-q", "origin", "main")
	tip := w.git(full, "rev-parse", "HEAD")
	for _, args := range [][]string{{}, {"--depth=1", "--no-tags"}, {"--depth=3"}, {"--filter=tree:0", "--no-checkout"}} {
		dir := w.clone(args...)
		for _, paths := range []string{"apps/a", "apps/b", "apps", "apps/a/new/file", "apps/c", "apps/c/d", "README", "none", "apps/b README", "apps/b apps/a/new"} {
			want := w.git(full, append([]string{"log", "--format=%s", base + ".." + tip, "--"}, strings.Fields(paths)...)...)
			before := len(w.server.Requests())
			tags, _ := w.tags(dir, repo.Options{})
			messages, err := tags.Since(t.Context(), base, tip, strings.Fields(paths))
			w.check(err)
			got := strings.Split(strings.TrimSpace(strings.Join(messages, "")), "\n")
			slices.Sort(got)
			w.equal(fmt.Sprint(args, paths), got, slices.Sorted(strings.SplitSeq(want, "\n")))
			if asked := len(w.server.Requests()) - before; asked > 3 {
				w.Errorf("%v %s: %d requests", args, paths, asked)
			}
		}
	}
}

func TestTagsPush(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone("--depth=1")
	tip := w.git(dir, "rev-parse", "HEAD")
	tags, told := w.tags(dir, repo.Options{Author: repo.Signature{Name: "Ann", Email: "ann@example.com"}})
	w.check(tags.Push(t.Context(), "app/v1", tip, "one\n\ntwo"))
	want := "object " + tip + "\ntype commit\ntag app/v1\ntagger Ann <ann@example.com> 1800000000 +0000\n\none\n\ntwo"
	w.equal("tag", w.git(w.remote.Dir, "cat-file", "tag", "app/v1"), want)
	w.equal("tag here", w.git(dir, "cat-file", "tag", "app/v1"), want)
	w.equal("warnings", len(told.warnings), 0)

	// The name is taken, whatever we know of it.
	other := w.clone("--no-tags")
	tags, _ = w.tags(other, repo.Options{})
	err := tags.Push(t.Context(), "app/v1", tip, "another")
	w.equal("kind", fault.KindOf(err), fault.Conflict)
	w.equal("error", message(err), "push the tag app/v1 to "+w.remote.URL+": somebody was first: it is at "+w.git(w.remote.Dir, "rev-parse", "app/v1")[:7]+" by now")
	w.equal("tags here", w.git(other, "tag", "-l"), "")
	w.equal("objects left behind", w.git(other, "count-objects"), w.git(w.clone("--no-tags"), "count-objects"))

	// A tag of the checkout is pushed as it is, one without a message too.
	w.git(other, "tag", "light", "HEAD")
	w.check(tags.Push(t.Context(), "light", tip, "no message"))
	w.equal("light", w.git(w.remote.Dir, "rev-parse", "light"), tip)
	w.git(other, "tag", "-a", "-m", "their own", "heavy")
	w.git(other, "gc", "-q")
	tags, _ = w.tags(other, repo.Options{})
	w.check(tags.Push(t.Context(), "heavy", tip, "no message"))
	w.equal("heavy", w.git(w.remote.Dir, "rev-parse", "heavy"), w.git(other, "rev-parse", "heavy"))

	// What is in the way here does not undo the push.
	w.git(other, "tag", "taken", "HEAD")
	tags, told = w.tags(other, repo.Options{})
	w.check(tags.Push(t.Context(), "taken/v1", tip, "x"))
	if len(told.warnings) != 1 || !strings.HasPrefix(told.warnings[0], "pushed, but this checkout does not have the tag: ") {
		w.Errorf("warnings %q", told.warnings)
	}
	w.sound(dir)
	w.sound(other)
}

// Other ways than HTTP serve one request a connection.
func TestTagsElsewhere(t *testing.T) {
	t.Parallel()
	w := newSSHWorld(t)
	base := w.git(w.remote.Dir, "rev-parse", "main")
	tip := w.push(fstest.MapFS{"apps/a/dep.yaml": {Data: []byte("2")}})
	w.git(w.remote.Dir, "tag", "v1", base)
	for name, address := range map[string]string{"ssh": w.ssh.URL(w.remote), "file": "file://" + w.remote.Dir} {
		dir := w.clone("--depth=1", "--no-tags")
		w.git(dir, "remote", "set-url", "origin", address)
		tags, _ := w.tags(dir, w.options())
		w.equal(name, w.list(tags), "v1 "+base[:7]+" *")
		messages, err := tags.Since(t.Context(), base, tip, []string{"apps/a"})
		w.check(err)
		w.equal(name, messages, []string{"somebody's commit"})
		w.check(tags.Push(t.Context(), name, tip, "x"))
		w.equal(name, w.git(w.remote.Dir, "rev-parse", name), w.git(dir, "rev-parse", name))
		w.git(w.remote.Dir, "tag", "-d", name)
	}
}

// A push that landed, though its answer was lost, is done.
func TestTagsPushAnswerLost(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	front := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/git-receive-pack") && r.Method == http.MethodPost {
			w.server.ServeHTTP(httptest.NewRecorder(), r)
			panic(http.ErrAbortHandler)
		}
		w.server.ServeHTTP(out, r)
	}))
	defer front.Close()
	dir := w.clone()
	w.git(dir, "remote", "set-url", "origin", front.URL+"/org/app.git")
	tags, _ := w.tags(dir, repo.Options{})
	w.check(tags.Push(t.Context(), "v1", w.git(dir, "rev-parse", "HEAD"), "x"))
	w.equal("here", w.git(dir, "rev-parse", "v1"), w.git(w.remote.Dir, "rev-parse", "v1"))
}

func TestTagsRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		hook, tag string
		kind      fault.Kind
		hint      string
	}{
		"hook":      {"echo no >&2; exit 1", "v1", fault.Denied, "a hook or a rule"},
		"protected": {"echo 'GH013: Repository rule violations found' >&2; exit 1", "v1", fault.Denied, "tags of this name are protected"},
		"no name":   {"exit 0", "v1..2", fault.Usage, "for example"},
		"option":    {"exit 0", "v1\nx", fault.Usage, "for example"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			w.check(w.remote.Hook("pre-receive", tt.hook))
			dir := w.clone()
			tags, _ := w.tags(dir, repo.Options{})
			err := tags.Push(t.Context(), tt.tag, w.git(dir, "rev-parse", "HEAD"), "x")
			if fault.KindOf(err) != tt.kind || !strings.Contains(fault.HintOf(err), tt.hint) {
				w.Errorf("%v (%s)", err, fault.HintOf(err))
			}
			w.equal("tags here", w.git(dir, "tag", "-l"), "")
		})
	}
}

func TestTagsCreate(t *testing.T) {
	w := newWorld(t, gittest.Options{})
	dir := w.clone()
	tip := w.git(dir, "rev-parse", "HEAD")
	tags, _ := w.tags(dir, repo.Options{})
	w.check(tags.Create(t.Context(), "v1", tip, "one"))
	w.equal("commit", w.git(dir, "rev-parse", "v1^{commit}"), tip)
	was := w.git(dir, "rev-parse", "v1")
	w.git(dir, "pack-refs", "--all")
	w.equal("kind", fault.KindOf(tags.Create(t.Context(), "v1", tip, "two")), fault.Conflict)
	w.equal("tag", w.git(dir, "rev-parse", "v1"), was)
	w.equal("remote", w.git(w.remote.Dir, "tag", "-l"), "")
	w.sound(dir)
}

func TestTagsSigned(t *testing.T) {
	g := newGPG(t)
	pgp, ssh := g.key("ed25519", "default", "never"), sshKey(t, "-t", "ed25519", "-N", "")
	for name, tt := range map[string]struct {
		key    string
		config map[string]string
		warned string
		signed bool
	}{
		"SSH":        {key: ssh, signed: true},
		"OpenPGP":    {key: g.file(g.run("--armor", "--export-secret-keys", pgp)), signed: true},
		"configured": {config: map[string]string{"tag.gpgSign": "1", "gpg.format": "ssh", "user.signingKey": ssh}, signed: true},
		"not told":   {config: map[string]string{"commit.gpgSign": "true", "gpg.format": "ssh", "user.signingKey": ssh}},
		"keyring":    {config: map[string]string{"tag.gpgSign": "true"}, warned: "git's tag.gpgSign asks for signed tags, but ours is not signed: gpg's keyring is not read; "},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, gittest.Options{})
			dir := w.clone()
			for key, value := range tt.config {
				w.git(dir, "config", key, value)
			}
			var options repo.Options
			if tt.key != "" {
				var err error
				options.Signer, err = repo.LoadSigner(tt.key, "", os.Getenv)
				w.check(err)
			}
			tags, told := w.tags(dir, options)
			w.check(tags.Push(t.Context(), "v1", w.git(dir, "rev-parse", "HEAD"), "größer\n\nals sonst"))
			allowed := filepath.Join(t.TempDir(), "allowed")
			w.write(allowed, "ann@example.com "+contents(t, ssh+".pub"))
			_, err := gittest.Git(dir, "-c", "gpg.ssh.allowedSignersFile="+allowed, "tag", "-v", "v1")
			w.equal("verified", err == nil, tt.signed)
			if got := strings.Join(told.warnings, "\n"); !strings.HasPrefix(got, tt.warned) || tt.warned == "" && got != "" {
				w.Errorf("warnings %q", told.warnings)
			}
			w.check(w.remote.Fsck())
		})
	}
}
