package buildkit_test

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/buildkit"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry"
	"github.com/ksera524/imgbump/internal/registrytest"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/without"
)

// request is a build of a Dockerfile in a folder with some files; a name that ends in a slash is an empty folder, a content
// that begins with -> a link.
func request(t *testing.T, text string, files map[string]string) buildkit.Request {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		path := filepath.Join(dir, name)
		must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		if to, link := strings.CutPrefix(content, "->"); link {
			must(t, os.Symlink(to, path))
			continue
		}
		must(t, os.WriteFile(path, []byte(content), 0o644))
	}
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return buildkit.Request{
		Name: filepath.Join(dir, "Dockerfile"), Text: []byte(text),
		Sources:   dockerfile.Sources{Context: dockerfile.Folder(root)},
		Options:   dockerfile.Options{Created: time.Unix(1700000000, 0)},
		Platforms: []string{"linux/amd64"},
	}
}

// shell is a request whose Dockerfile begins with a stage that has a shell.
func shell(t *testing.T, text string) buildkit.Request {
	t.Helper()
	busybox, err := os.ReadFile("/bin/busybox")
	if err != nil {
		without.Skip(t, "/bin/busybox: apt install busybox-static")
	}
	r := request(t, "FROM scratch AS base\nCOPY --chmod=755 busybox /bin/sh\n"+text, map[string]string{"busybox": string(busybox)})
	return r
}

// build builds, and closes the image when the test is over.
func build(t *testing.T, c *buildkit.Client, r buildkit.Request) image.Artifact {
	t.Helper()
	artifact, closer, err := c.Build(t.Context(), r)
	must(t, err)
	t.Cleanup(func() { closer.Close() })
	return artifact
}

// files are what an image holds: the content of files, "->" and the target of links, owners and modes apart.
func files(t *testing.T, img v1.Image) map[string]string {
	t.Helper()
	all := map[string]string{}
	r := mutate.Extract(img)
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		must(t, err)
		content, err := io.ReadAll(tr)
		must(t, err)
		switch h.Typeflag {
		case tar.TypeReg:
			all[h.Name] = fmt.Sprintf("%o %d:%d %s", h.Mode, h.Uid, h.Gid, content)
		case tar.TypeSymlink, tar.TypeLink:
			all[h.Name] = string(h.Typeflag) + "->" + h.Linkname
		}
	}
}

func TestFiles(t *testing.T) {
	d := startDaemon(t, "")
	r := request(t, "FROM scratch\nCOPY --chown=7 . /x/\nCOPY --from=other b /y/\n", map[string]string{
		"a": "one", "sub/ünï b": "two", "link": "->sub", "skipped/c": "no", "sub/c.log": "no", "sub/kept.log": "yes",
	})
	context := filepath.Dir(r.Name)
	must(t, os.Link(filepath.Join(context, "a"), filepath.Join(context, "again")))
	must(t, os.Chmod(filepath.Join(context, "a"), 0o751))
	must(t, os.Chown(filepath.Join(context, "link"), 1, 1))
	r.Sources.Ignore = []byte("skipped\n**/*.log\n!sub/kept.log\n")
	other := request(t, "", map[string]string{"b": "other"})
	r.Sources.Contexts = map[string]dockerfile.Context{"other": other.Sources.Context}
	r.Options.Contexts = map[string]string{"other": filepath.Dir(other.Name)}
	want := map[string]string{
		"x/a": "751 7:7 one", "x/again": "1->x/a", "x/sub/ünï b": "644 7:7 two", "x/link": "2->sub", "x/sub/kept.log": "644 7:7 yes",
		"y/b": "644 0:0 other",
	}
	for range 2 { // the second time BuildKit knows what it was sent
		img := build(t, d.client(t), r).(v1.Image)
		if diff := cmp.Diff(want, files(t, img)); diff != "" {
			t.Error(diff)
		}
	}
	must(t, os.WriteFile(filepath.Join(context, "sub/kept.log"), []byte("new"), 0o644))
	want["x/sub/kept.log"] = "644 7:7 new"
	if diff := cmp.Diff(want, files(t, build(t, d.client(t), r).(v1.Image))); diff != "" {
		t.Error(diff)
	}
}

// What the flags say arrives.
func TestOptions(t *testing.T) {
	d := startDaemon(t, "")
	r := shell(t, "FROM base AS made\nARG A\nARG SOURCE_DATE_EPOCH\nLABEL own=file\nRUN echo $A $HOSTNAME $(ulimit -n) > /said; grep given /etc/hosts >> /said; df -k /dev/shm | tail -1 >> /said\nFROM made\nRUN exit 1\n")
	r.Options.Target = "made"
	r.Options.Args = map[string]string{"A": "b", "SOURCE_DATE_EPOCH": "1600000000"}
	r.Options.Labels = map[string]string{"flag": "1"}
	r.Options.Origin = map[string]string{"own": "origin", "other": "origin"}
	r.Options.Hosts = []string{"10.1.2.3 given"}
	r.Options.Limits = []string{"nofile=99:99"}
	r.Options.ShmSize = 1 << 20
	r.Compression = image.Compression{Algorithm: image.Zstd}
	r.Platforms = []string{"linux/amd64", "linux/arm64"}
	r.Text = []byte(strings.Replace(string(r.Text), "FROM scratch", "FROM --platform=linux/amd64 scratch", 1))
	index := build(t, d.client(t), r).(v1.ImageIndex)
	manifest, err := index.IndexManifest()
	must(t, err)
	if len(manifest.Manifests) != 2 || manifest.Manifests[1].Platform.Architecture != "arm64" {
		t.Fatalf("%+v", manifest)
	}
	img, err := index.Image(manifest.Manifests[0].Digest)
	must(t, err)
	config, err := img.ConfigFile()
	must(t, err)
	if diff := cmp.Diff(map[string]string{"flag": "1", "own": "file", "other": "origin"}, config.Config.Labels); diff != "" {
		t.Error(diff)
	}
	if !config.Created.Equal(time.Unix(1600000000, 0)) {
		t.Errorf("created %v", config.Created)
	}
	layers, err := img.Layers()
	must(t, err)
	for _, l := range layers {
		if mediaType, _ := l.MediaType(); !strings.HasSuffix(string(mediaType), "+zstd") {
			t.Errorf("a layer is %s", mediaType)
		}
	}
	said := files(t, img)["said"]
	if !strings.HasPrefix(said, "644 0:0 b ") || !strings.Contains(said, " 99\n") || !strings.Contains(said, "10.1.2.3\tgiven\n") || !strings.Contains(said, " 1024 ") {
		t.Errorf("RUN saw %q", said)
	}
}

// The steps are told as the builder in this program tells them.
func TestSteps(t *testing.T) {
	d := startDaemon(t, "")
	r := shell(t, "FROM base AS named\nRUN echo one >&2; echo two >&2\nfrom named\nCOPY --from=named /bin/sh /x\n")
	var warned []string
	r.Options.Warn = func(file string, line int, message string) {
		warned = append(warned, fmt.Sprintf("%s:%d %s", filepath.Base(file), line, message))
	}
	for _, cached := range []bool{false, true} {
		var told []string
		output := ""
		r.Step = func(s dockerfile.Step) {
			switch {
			case s.Output != nil:
				output += string(s.Output)
			case s.Done && s.Cached == cached:
				told = append(told, fmt.Sprintf("%d/%d %s %s", s.Number, s.Total, s.Stage, s.Instruction))
			}
		}
		build(t, d.client(t), r)
		if diff := cmp.Diff([]string{"1/3 base COPY --chmod=755 busybox /bin/sh", "2/3 named RUN echo one >&2; echo two >&2", "3/3 stage-2 COPY --from=named /bin/sh /x"}, told); diff != "" {
			t.Errorf("cached %v: %s", cached, diff)
		}
		if want := map[bool]string{false: "one\ntwo\n", true: ""}[cached]; output != want {
			t.Errorf("cached %v: output %q", cached, output)
		}
	}
	if want := []string{"Dockerfile:5 ConsistentInstructionCasing: Command 'from' should match the case of the command majority (uppercase)"}; !slices.Equal(warned[:1], want) || len(warned) != 2 {
		t.Errorf("warned %q", warned)
	}
}

// A Dockerfile that was changed, and is as large as it was, is not taken for the old one.
func TestChangedDockerfile(t *testing.T) {
	d := startDaemon(t, "")
	r := request(t, "", map[string]string{"a": "a", "b": "b"})
	for _, name := range []string{"a", "b"} {
		r.Text = []byte("FROM scratch\nCOPY " + name + " /\n")
		if got := files(t, build(t, d.client(t), r).(v1.Image)); len(got) != 1 || got[name] == "" {
			t.Errorf("COPY %s: %v", name, got)
		}
	}
}

// What is doubtful for several platforms is told once.
func TestWarnedOnce(t *testing.T) {
	d := startDaemon(t, "")
	r := request(t, "FROM scratch AS X\nCOPY a /\n", map[string]string{"a": "b"})
	r.Platforms = []string{"linux/amd64", "linux/arm64"}
	warned := 0
	r.Options.Warn = func(_ string, _ int, message string) {
		if strings.HasPrefix(message, "StageNameCasing: ") {
			warned++
		}
	}
	build(t, d.client(t), r)
	if warned != 1 {
		t.Errorf("told %d times", warned)
	}
}

func TestRefused(t *testing.T) {
	d := startDaemon(t, "")
	for name, tt := range map[string]struct{ text, want string }{
		"exit code":   {"RUN exit 3", `Dockerfile:3: process "/bin/sh -c exit 3" did not complete successfully: exit code: 3`},
		"no file":     {"COPY nothere /", `Dockerfile:3: "/nothere": not found`},
		"syntax":      {"\n\nFOO bar", `Dockerfile:5: unknown instruction: FOO (did you mean FROM?)`},
		"no secret":   {"RUN --mount=type=secret,id=x,required=true true", `Dockerfile:3: secret x: not found`},
		"no stage":    {"COPY --from=1 /a /b", `build with BuildKit ` + d.Address + `: invalid stage index 1`},
		"entitlement": {"RUN --network=host true", `build with BuildKit ` + d.Address + `: granting entitlement network.host is not allowed`},
	} {
		t.Run(name, func(t *testing.T) {
			r := shell(t, tt.text+"\n")
			_, _, err := d.client(t).Build(t.Context(), r)
			if err == nil {
				t.Fatal("it was built")
			}
			got := strings.ReplaceAll(err.Error(), filepath.Dir(r.Name)+"/", "")
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
	r := request(t, "FROM scratch\n", nil)
	r.Options.Contexts = map[string]string{"a": "oci-layout:///nosuch"}
	if _, _, err := d.client(t).Build(t.Context(), r); err == nil || !strings.Contains(err.Error(), "a=oci-layout:///nosuch") {
		t.Errorf("a layout that is not there: %v", err)
	}
}

// A step has the daemon's network where the daemon allows that.
func TestHostNetwork(t *testing.T) {
	d := startDaemon(t, "", "--allow-insecure-entitlement", "network.host")
	r := shell(t, "RUN --network=host true\n")
	build(t, d.client(t), r)
	r = shell(t, "RUN true\n")
	r.Options.Network = step.Host
	build(t, d.client(t), r)
}

// A layout on disk is a context as others are.
func TestLayout(t *testing.T) {
	d := startDaemon(t, "")
	base := build(t, d.client(t), request(t, "FROM scratch\nCOPY a /\n", map[string]string{"a": strings.Repeat("x", 3<<20)}))
	dir := filepath.Join(t.TempDir(), "layout")
	must(t, image.WriteLayout(dir, base, nil))
	digest, err := base.Digest()
	must(t, err)
	r := request(t, "FROM base\nCOPY --from=base /a /copy\n", nil)
	for _, where := range []string{"oci-layout://" + dir, "oci-layout://" + dir + "@" + digest.String()} {
		r.Options.Contexts = map[string]string{"base": where}
		if got := files(t, build(t, startDaemon(t, "").client(t), r).(v1.Image)); len(got["a"]) < 3<<20 || got["a"] != got["copy"] {
			t.Errorf("%s: %d and %d bytes", where, len(got["a"]), len(got["copy"]))
		}
	}
	r.Options.Contexts = map[string]string{"base": "oci-layout://" + dir + "@sha256:0"}
	if _, _, err := d.client(t).Build(t.Context(), r); err == nil || !strings.Contains(err.Error(), "not sha256:0") {
		t.Errorf("%v", err)
	}
}

// A step gets the secret, whoever sees the image or what was told of the build does not.
func TestSecret(t *testing.T) {
	d := startDaemon(t, "")
	const secret = "s3cretOfTheBuild"
	r := shell(t, "RUN --mount=type=secret,id=a,required=true --mount=type=secret,id=none [ $(wc -c < /run/secrets/a) = 16 ] && [ ! -e /run/secrets/none ] && echo yes > /found\n")
	r.Sources.Secrets = func(id string) ([]byte, bool) { return []byte(secret), id == "a" }
	r.Step = func(s dockerfile.Step) {
		if strings.Contains(fmt.Sprint(s), secret) {
			t.Errorf("%v", s)
		}
	}
	img := build(t, d.client(t), r).(v1.Image)
	all := files(t, img)
	if !strings.HasSuffix(all["found"], "yes\n") {
		t.Errorf("the step did not see its secret: %v", slices.Collect(maps.Keys(all)))
	}
	config, err := img.RawConfigFile()
	must(t, err)
	if strings.Contains(string(config), secret) || strings.Contains(fmt.Sprint(all), secret) {
		t.Error("the secret is in the image")
	}
}

func TestAgent(t *testing.T) {
	d := startDaemon(t, "")
	program := filepath.Join(t.TempDir(), "agent")
	compile := exec.Command("go", "build", "-o", program, "./testdata/agent")
	compile.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	content, err := os.ReadFile(program)
	must(t, err)
	r := shell(t, "COPY --chmod=755 agent /agent\nRUN --mount=type=ssh,id=key /agent > /answer\n")
	must(t, os.WriteFile(filepath.Join(filepath.Dir(r.Name), "agent"), content, 0o755))
	socket := filepath.Join(t.TempDir(), "socket")
	listener, err := net.Listen("unix", socket)
	must(t, err)
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			asked, _ := io.ReadAll(conn)
			fmt.Fprintf(conn, "you asked: %s", asked)
			conn.Close()
		}
	}()
	r.Sources.SSH = map[string]string{"key": socket}
	if answer := files(t, build(t, d.client(t), r).(v1.Image))["answer"]; !strings.HasSuffix(answer, "you asked: who is there?\n") {
		t.Errorf("%q", answer)
	}
}

func TestAtTheSameTime(t *testing.T) {
	d := startDaemon(t, "")
	c := d.client(t)
	var all sync.WaitGroup
	for i := range 6 {
		r := request(t, "FROM scratch\nCOPY a /\n", map[string]string{"a": fmt.Sprint(i, strings.Repeat("x", 1<<20))})
		all.Go(func() {
			artifact, closer, err := c.Build(t.Context(), r)
			if err != nil {
				t.Error(err)
				return
			}
			defer closer.Close()
			if got := files(t, artifact.(v1.Image))["a"]; !strings.HasPrefix(got, fmt.Sprintf("644 0:0 %d", i)) {
				t.Errorf("build %d got the files of another", i)
			}
		})
	}
	all.Wait()
}

// Logins work by tokens: the daemon gets into a private project, and never sees the password.
func TestPrivateBase(t *testing.T) {
	robot := registrytest.Robot{Name: "robot$ci", Secret: "R0botSecret", Project: "team", Push: true}
	server := registrytest.Start(t, registrytest.Config{Projects: []string{"team"}, Robots: []registrytest.Robot{robot}})
	login := registry.New(registry.Options{Credential: registry.Credential{Host: server.Host, Username: robot.Name, Password: robot.Secret}})
	base, err := mutate.AppendLayers(empty.Image, static.NewLayer(make([]byte, 1024), types.OCIUncompressedLayer))
	must(t, err)
	_, err = login.Push(t.Context(), base, []imageref.Ref{{Registry: server.Host, Repository: "team/base", Tag: "1"}})
	must(t, err)
	d := startDaemon(t, fmt.Sprintf("[registry.%q]\nhttp = true\n", server.Host))
	r := request(t, "FROM "+server.Host+"/team/base:1\nCOPY a /\n", map[string]string{"a": "b"})
	cache := imageref.Ref{Registry: server.Host, Repository: "team/cache", Tag: "steps"}
	r.CacheTo, r.CacheFrom = []imageref.Ref{cache}, []imageref.Ref{cache}
	if _, _, err := d.client(t).Build(t.Context(), r); err == nil {
		t.Fatal("anybody may read the base image")
	}
	r.Logins = login
	build(t, d.client(t), r)
	if _, err := login.Artifact(t.Context(), cache); err != nil {
		t.Errorf("the cache: %v", err)
	}
	text := d.Log()
	must(t, err)
	if strings.Contains(string(text), robot.Secret) {
		t.Error("the daemon saw the password")
	}
}

// Layers that the registry has do not travel, and are not missed when the image is pushed.
func TestThere(t *testing.T) {
	d := startDaemon(t, "")
	r := request(t, "FROM scratch\nCOPY a /\nCOPY b /\n", map[string]string{"a": strings.Repeat("a", 1<<20), "b": "b"})
	server := registrytest.Start(t, registrytest.Config{})
	to := []imageref.Ref{{Registry: server.Host, Repository: "team/app", Tag: "1"}}
	client := registry.New(registry.Options{})
	r.There = func(ctx context.Context, digest string) bool { return client.Has(ctx, to[0], digest) }
	statuses := func() (all []image.Status) {
		receipt, err := client.Push(t.Context(), build(t, d.client(t), r), to)
		must(t, err)
		for _, l := range receipt.Layers {
			all = append(all, l.Status)
		}
		return all
	}
	if got := statuses(); !slices.Equal(got, []image.Status{image.Pushed, image.Pushed}) {
		t.Errorf("first %v", got)
	}
	must(t, os.WriteFile(filepath.Join(filepath.Dir(r.Name), "b"), []byte("new"), 0o644))
	if got := statuses(); !slices.Equal(got, []image.Status{image.Exists, image.Pushed}) && !slices.Equal(got, []image.Status{image.Pushed, image.Exists}) {
		t.Errorf("second %v", got)
	}
	layers, err := build(t, d.client(t), r).(v1.Image).Layers()
	must(t, err)
	content, err := layers[0].Compressed()
	must(t, err)
	if _, err := io.ReadAll(content); err == nil || !strings.Contains(err.Error(), "since the registry had it") {
		t.Errorf("the layer was handed over: %v", err)
	}
}
