package buildkit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/tonistiigi/fsutil/types"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// unencrypted serves HTTP/2 without TLS.
func unencrypted(t *testing.T, h http.Handler) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// asDaemon calls what a session offers, as a daemon does.
func asDaemon(t *testing.T, r Request) *peer {
	t.Helper()
	s, err := newSession(t.Context(), r)
	if err != nil {
		t.Fatal(err)
	}
	base, err := url.Parse(unencrypted(t, s.methods()).URL + "/")
	if err != nil {
		t.Fatal(err)
	}
	return &peer{base: base, client: plainClient()}
}

// plainClient speaks HTTP/2 without TLS.
func plainClient() *http.Client {
	protocols := new(http.Protocols)
	protocols.SetUnencryptedHTTP2(true)
	return &http.Client{Transport: &http.Transport{Protocols: protocols}}
}

// asked is a request whose context has a file and a link out of it.
func asked(t *testing.T) Request {
	t.Helper()
	dir := t.TempDir()
	for _, err := range []error{
		os.WriteFile(filepath.Join(dir, "a"), []byte("content"), 0o644),
		os.WriteFile(filepath.Join(filepath.Dir(dir), "outside"), []byte("outside"), 0o644),
		os.Symlink("../outside", filepath.Join(dir, "out")),
		os.Symlink("/etc", filepath.Join(dir, "etc")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	return Request{Name: "Dockerfile", Text: []byte("FROM harbor.example.com/team/base\n"), Sources: dockerfile.Sources{Context: dockerfile.Folder(root)}}
}

// offered are the names of what a daemon is told of a folder, and the content of the files that it then asks for.
func offered(p *peer, header http.Header) (names, contents []string, err error) {
	c := p.call(context.Background(), "/moby.filesync.v1.FileSync/DiffCopy", header)
	defer c.Close()
	next := func() (*types.Packet, error) {
		m, err := c.Receive()
		packet := &types.Packet{}
		if err == nil {
			err = packet.UnmarshalVT(m)
		}
		return packet, err
	}
	for {
		packet, err := next()
		if err != nil {
			return names, contents, err
		}
		if packet.Stat == nil {
			break
		}
		names = append(names, packet.Stat.Path)
	}
	for id := range len(names) + 2 {
		raw, _ := (&types.Packet{Type: types.PACKET_REQ, ID: uint32(id)}).MarshalVT()
		if err := c.Send(raw); err != nil {
			return names, contents, err
		}
		for {
			packet, err := next()
			if err != nil {
				return names, contents, err
			}
			if len(packet.Data) == 0 {
				break
			}
			contents = append(contents, string(packet.Data))
		}
	}
	return names, contents, nil
}

// A daemon sees what is in the context, and nothing else, whatever it asks for.
func TestNothingOutsideTheContext(t *testing.T) {
	p := asDaemon(t, asked(t))
	for _, header := range []http.Header{
		{"Dir-Name": {"context"}},
		{"Dir-Name": {"context"}, "Followpaths": {"../outside", "out", "etc/passwd", "/etc/passwd", "../../../../etc/passwd"}, "Include-Patterns": {"**", "../**"}},
		{"Dir-Name": {"context"}, "Include-Patterns": {"..", "/"}, "Exclude-Patterns": {"!../outside"}},
	} {
		names, contents, err := offered(p, header)
		for _, name := range names {
			if !slices.Contains([]string{"a", "out", "etc"}, name) {
				t.Errorf("%v: it was told of %s", header, name)
			}
		}
		for _, content := range contents {
			if content != "content" {
				t.Errorf("%v: it got %q", header, content)
			}
		}
		if len(names) == 3 && err == nil {
			t.Errorf("%v: it got a file that was not offered", header)
		}
	}
	for _, name := range []string{"/", "..", "", "other"} {
		if names, _, err := offered(p, http.Header{"Dir-Name": {name}}); err == nil || len(names) > 0 {
			t.Errorf("folder %q: %v", name, names)
		}
	}
}

// logins are those of somebody who is logged in to Harbor, and to a registry that knows passwords only.
type logins struct{ scopes []string }

func (l *logins) Bearer(_ context.Context, host string) bool { return host == "harbor.example.com" }

func (l *logins) Token(_ context.Context, host string, scopes []string) (string, error) {
	l.scopes = scopes
	return "token for " + host, nil
}

func (l *logins) Password(_ context.Context, host string) (string, string, error) {
	if host == "basic.example.com" || host == "unnamed.example.com" {
		return "me", "s3cret", nil
	}
	return "", "", nil
}

// A daemon gets tokens with which it can read, and write nothing but the cache; a password only for what the build names.
func TestLogins(t *testing.T) {
	r, l := asked(t), &logins{}
	r.Logins = l
	r.Text = []byte("FROM harbor.example.com/team/base\nCOPY --from=basic.example.com/x / /\n")
	r.CacheTo = []imageref.Ref{{Registry: "harbor.example.com", Repository: "team/cache"}}
	p := asDaemon(t, r)
	token := func(host string, scopes ...string) (string, error) {
		m := message{}.text(2, host).text(3, "https://evil.example.com/token")
		for _, s := range scopes {
			m = m.text(5, s)
		}
		answer, err := p.ask(t.Context(), "/moby.filesync.v1.Auth/FetchToken", m)
		return answer.field(1).text(), err
	}
	if got, err := token("harbor.example.com", "repository:team/base:pull,push,delete", "repository:team/cache:pull,push", "registry:catalog:*"); err != nil || got != "token for harbor.example.com" {
		t.Errorf("%q, %v", got, err)
	}
	if want := []string{"repository:team/base:pull", "repository:team/cache:pull,push"}; !slices.Equal(l.scopes, want) {
		t.Errorf("scopes %q, want %q", l.scopes, want)
	}
	for _, scope := range []string{"registry:catalog:*", "repository:team/base:push", "repository:team/base", "", "*"} {
		if got, err := token("harbor.example.com", scope); err == nil {
			t.Errorf("%s: %q", scope, got)
		}
	}
	if got, err := token("other.example.com", "repository:a:pull"); err == nil {
		t.Errorf("a registry that the build does not name: %q", got)
	}
	for host, want := range map[string]string{"basic.example.com": "s3cret", "harbor.example.com": "", "unnamed.example.com": ""} {
		answer, err := p.ask(t.Context(), "/moby.filesync.v1.Auth/Credentials", message{}.text(1, host))
		if got := answer.field(2).text(); got != want {
			t.Errorf("%s: password %q, %v", host, got, err)
		}
	}
}

// What a daemon says cannot drive a terminal, and one that does not keep to the protocol is an error.
func TestStrangeDaemon(t *testing.T) {
	for name, tt := range map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"a page":      {func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") }, "it does not answer as BuildKit does"},
		"not allowed": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusForbidden) }, "403 Forbidden"},
		"too large": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte{0, 0xff, 0xff, 0xff, 0xff})
		}, "it does not answer as BuildKit does"},
		"compressed": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			_, _ = w.Write([]byte{1, 0, 0, 0, 0})
		}, "it does not answer as BuildKit does"},
		"no status": {func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Type", contentType) }, "unexpected EOF"},
		"says things": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Grpc-Status", "7")
			w.Header().Set("Grpc-Message", url.PathEscape("no\n::error::\x1b[31mno"))
		}, "no ::error:: [31mno"},
	} {
		t.Run(name, func(t *testing.T) {
			s := unencrypted(t, tt.answer)
			c, err := New(Options{Address: "tcp://" + s.Listener.Addr().String()})
			if err != nil {
				t.Fatal(err)
			}
			_, _, err = c.Build(t.Context(), asked(t))
			if err == nil || !strings.Contains(err.Error(), tt.want) || strings.ContainsAny(err.Error(), "\n\x1b") {
				t.Errorf("%q, want %s", err, tt.want)
			}
			if name == "says things" && fault.KindOf(err) != fault.Denied {
				t.Errorf("kind %v", fault.KindOf(err))
			}
		})
	}
}

// A build of which nothing is handed over did not succeed.
func TestNothingHandedOver(t *testing.T) {
	ended := make(chan struct{})
	s := unencrypted(t, service{
		"/moby.buildkit.v1.Control/Session": func(x *exchange) error {
			<-ended
			return nil
		},
		"/moby.buildkit.v1.Control/Status": func(*exchange) error { return nil },
		"/moby.buildkit.v1.Control/Solve": single(func(context.Context, message) (message, error) {
			close(ended)
			return message{}.pairs(1, map[string]string{"containerimage.digest": "sha256:0"}), nil
		}),
	})
	c, err := New(Options{Address: "tcp://" + s.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Build(t.Context(), asked(t)); err == nil || !strings.Contains(err.Error(), "does not say which") {
		t.Errorf("%v", err)
	}
}

// Messages that cannot be read are errors, and never a panic.
func FuzzMessage(f *testing.F) {
	f.Add([]byte(message{}.text(1, "a").number(2, 3).pairs(7, map[string]string{"k": "v"})))
	f.Add([]byte("\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		w := newWatch(Request{Step: func(dockerfile.Step) {}})
		_ = w.see(raw)
		_ = message(raw).field(1)
		_ = statusOf(http.Header{"Grpc-Status": {"2"}, "Grpc-Status-Details-Bin": {string(raw)}})
		if _, err := readMessage(strings.NewReader(string(raw))); err == nil && len(raw) < 5 {
			t.Error("a message without a head")
		}
	})
}

// The platform is this machine's, whatever the daemon's is.
func TestPlatform(t *testing.T) {
	for _, tt := range []struct {
		r    Request
		want string
	}{
		{Request{}, "linux/" + runtime.GOARCH},
		{Request{Platforms: []string{"linux/amd64", "linux/arm64"}}, "linux/amd64,linux/arm64"},
	} {
		if all, err := tt.r.attributes(); err != nil || all["platform"] != tt.want {
			t.Errorf("%q, %v, want %s", all["platform"], err, tt.want)
		}
	}
}

// Of a layout a daemon reads blobs, and of this layout only.
func TestLayoutIsClosed(t *testing.T) {
	dir := t.TempDir()
	hex := func(c string) string { return strings.Repeat(c, 64) }
	for _, err := range []error{
		os.MkdirAll(filepath.Join(dir, "layout/blobs/sha256"), 0o755),
		os.WriteFile(filepath.Join(dir, "layout/blobs/sha256", hex("a")), []byte("blob"), 0o644),
		os.WriteFile(filepath.Join(dir, "outside"), []byte("outside"), 0o644),
		os.Symlink("../../../outside", filepath.Join(dir, "layout/blobs/sha256", hex("b"))),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	root, err := os.OpenRoot(filepath.Join(dir, "layout"))
	if err != nil {
		t.Fatal(err)
	}
	all := layouts{"known": {root: root}}
	defer all.Close()
	base, _ := url.Parse(unencrypted(t, service{"/read": all.read, "/info": all.info}).URL + "/")
	p := &peer{base: base, client: plainClient()}
	for _, tt := range []struct{ store, digest, want string }{
		{"oci:known", "sha256:" + hex("a"), "blob"},
		{"oci:other", "sha256:" + hex("a"), ""},
		{"", "sha256:" + hex("a"), ""},
		{"oci:known", "sha256:" + hex("b"), ""},
		{"oci:known", "sha256:" + hex("c"), ""},
		{"oci:known", "sha256:../../../outside", ""},
		{"oci:known", "../outside", ""},
	} {
		for _, method := range []string{"/read", "/info"} {
			c := p.call(t.Context(), method, http.Header{"Buildkit-Attachable-Store-Id": {tt.store}})
			_ = c.Send(message{}.text(1, tt.digest))
			answer, err := c.Receive()
			c.Close()
			got := answer.field(2).text()
			if method == "/info" && answer.field(1).nested().field(2).number == 4 {
				got = "blob"
			}
			if got != tt.want || (err == nil) != (tt.want != "") {
				t.Errorf("%s %s of %s: %q, %v", method, tt.digest, tt.store, got, err)
			}
		}
	}
}

// What is handed over is what it was said to be, or it is not there.
func TestContent(t *testing.T) {
	const text = "hello"
	digest := fmt.Sprintf("sha256:%x", sha256.Sum256([]byte(text)))
	commit := func(expected string, total int) message {
		return message{}.number(1, actionCommit).number(3, uint64(total)).text(4, expected)
	}
	stat := message{}.number(1, actionStat).text(2, "layer-"+digest).number(3, 5).text(4, digest)
	data := func(offset int, s string) message {
		return message{}.number(1, actionWrite).number(5, uint64(offset)).data(6, []byte(s))
	}
	for name, tt := range map[string]struct {
		messages []message
		want     string
	}{
		"whole":          {[]message{stat, data(0, "hel"), data(3, "lo"), commit(digest, 5)}, ""},
		"in one message": {[]message{commit(digest, 5).data(6, []byte(text))}, ""},
		"other bytes":    {[]message{stat, data(0, "HELLO"), commit(digest, 5)}, "what arrived is sha256:"},
		"too few":        {[]message{stat, data(0, text), commit(digest, 6)}, "what arrived is sha256:"},
		"a gap":          {[]message{stat, data(1, text)}, errProtocol.Error()},
		"twice":          {[]message{stat, data(0, text), data(0, text)}, errProtocol.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			c := newContent(nil)
			defer c.Close()
			s := unencrypted(t, service{"/write": c.write})
			base, _ := url.Parse(s.URL + "/")
			call := (&peer{base: base, client: plainClient()}).call(t.Context(), "/write", nil)
			defer call.Close()
			var err error
			for _, m := range tt.messages {
				if err = call.Send(m); err == nil {
					_, err = call.Receive()
				}
				if err != nil {
					break
				}
			}
			r, size, missing := c.Blob(digest)
			if tt.want != "" {
				if err == nil || !strings.Contains(err.Error(), tt.want) || missing == nil {
					t.Errorf("%v, want %s", err, tt.want)
				}
				return
			}
			if err != nil || missing != nil || size != int64(len(text)) {
				t.Fatalf("%v, %v, %d bytes", err, missing, size)
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != text {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
}

// A layer that is where the image goes is not handed over; configurations and manifests are.
func TestSkipped(t *testing.T) {
	c := newContent(func(_ context.Context, digest string) bool { return digest == "sha256:there" })
	defer c.Close()
	s := unencrypted(t, service{"/write": c.write})
	base, _ := url.Parse(s.URL + "/")
	for ref, want := range map[string]bool{"layer-sha256:there": true, "layer-sha256:new": false, "config-sha256:there": false, "manifest-sha256:there": false} {
		_, digest, _ := strings.Cut(ref, "-")
		_, err := (&peer{base: base, client: plainClient()}).ask(t.Context(), "/write", message{}.number(1, actionStat).text(2, ref).number(3, 7).text(4, digest))
		var said *status
		if skipped := errors.As(err, &said) && said.code == codeAlreadyExists; skipped != want {
			t.Errorf("%s: %v", ref, err)
		}
	}
	r, size, err := c.Blob("sha256:there")
	if err != nil || size != 7 {
		t.Fatalf("%d bytes, %v", size, err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, errElsewhere) {
		t.Errorf("%v", err)
	}
}

// TestSilentDaemon gives a daemon up that is there, and answers nothing.
func TestSilentDaemon(t *testing.T) {
	s := unencrypted(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }))
	c, err := New(Options{Address: "tcp://" + s.Listener.Addr().String()})
	if err != nil {
		t.Fatal(err)
	}
	defer func(d time.Duration) { greeting = d }(greeting)
	greeting = 50 * time.Millisecond
	if _, _, err := c.Build(t.Context(), asked(t)); err == nil || !strings.Contains(err.Error(), "reach BuildKit at "+c.address+": it does not answer as BuildKit does: no answer within 50ms") {
		t.Error(err)
	}
}
