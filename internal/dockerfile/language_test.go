package dockerfile_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
)

// checked is what Check tells about a Dockerfile.
func checked(t *testing.T, text string, opts dockerfile.Options, ignore string) (doubts []string, err error) {
	t.Helper()
	opts.Warn = func(_ string, line int, message string) {
		doubts = append(doubts, string(rune('0'+line))+" "+message)
	}
	f, err := dockerfile.Parse("Dockerfile", []byte(text), opts)
	if err != nil {
		return nil, err
	}
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	t.Cleanup(func() { root.Close() })
	base := func(_ context.Context, ref string, p v1.Platform) (v1.Image, error) {
		if ref == "absent" {
			return nil, errors.New("no such image")
		}
		return baseImage(p, types.OCIManifestSchema1, v1.Config{Env: []string{"LANG=C"}})
	}
	err = f.Check(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Ignore: []byte(ignore), Base: base})
	return doubts, err
}

// TestRules wants each rule of BuildKit's linter that can apply to be told once, at its line.
func TestRules(t *testing.T) {
	for text, want := range map[string]string{
		"FROM a AS Build":                                 "1 StageNameCasing",
		"FROM a as b":                                     "1 FromAsCasing",
		"FROM a\nENV A=1 \\\n\nB=2":                       "4 NoEmptyContinuation",
		"FROM a\nenv A=1\nENV B=2":                        "2 ConsistentInstructionCasing",
		"from a\nenv A=1\nENV B=2":                        "3 ConsistentInstructionCasing",
		"FROM a AS b\nFROM a AS b":                        "2 DuplicateStageName",
		"FROM a AS context":                               "1 ReservedStageName",
		"FROM a\nCMD echo hi":                             "2 JSONArgsRecommended",
		"FROM a\nMAINTAINER me":                           "2 MaintainerDeprecated",
		"ARG OTHR\nFROM a$OTHER":                          "2 UndefinedArgInFrom",
		"FROM a\nWORKDIR rel":                             "2 WorkdirRelativePath",
		"FROM a\nENV A=$LANC":                             "2 UndefinedVar",
		"FROM a\nARG A=$LANC":                             "2 UndefinedVar",
		"FROM a\nCMD [\"a\"]\nCMD [\"b\"]":                "2 MultipleInstructionsDisallowed",
		"FROM a\nLABEL A b":                               "2 LegacyKeyValueFormat",
		"FROM --platform=$TARGETPLATFORM a":               "1 RedundantTargetPlatform",
		"FROM --platform=linux/amd64 a":                   "1 FromPlatformFlagConstDisallowed",
		"FROM a\nARG API_TOKEN":                           "2 SecretsUsedInArgOrEnv",
		"ARG TAG\nFROM a:$TAG":                            "2 InvalidDefaultArgInFrom",
		"FROM a\nCOPY ignored/x /":                        "2 CopyIgnoredFile",
		"FROM a\nEXPOSE 80/TCP":                           "2 ExposeProtoCasing",
		"FROM a\nEXPOSE 1:80":                             "2 ExposeInvalidFormat",
		"FROM a\nRUN make\nENTRYPOINT x":                  "3 JSONArgsRecommended",
		"FROM a\nSHELL [\"x\"]\nCMD y":                    "",
		"FROM a\nENV PUBLIC_KEY=1":                        "",
		"FROM a\nENV A=$LANG":                             "",
		"# check=skip=JSONArgsRecommended\nFROM a\nCMD x": "",
		"# check=skip=all\nFROM a\nCMD x\nEXPOSE 80/TCP":  "",
		"FROM a\n# check=skip=JSONArgsRecommended\nCMD x\nENTRYPOINT y": "4 JSONArgsRecommended",
		"FROM a AS unneeded\nCMD x\nFROM a":                             "2 JSONArgsRecommended",
	} {
		doubts, err := checked(t, text, dockerfile.Options{Args: map[string]string{"TAG": "1", "OTHER": "b"}}, "ignored")
		must(t, err)
		doubts = slices.DeleteFunc(doubts, func(s string) bool { return strings.Contains(s, "--build-arg") })
		var rules []string
		for _, d := range doubts {
			rule, _, _ := strings.Cut(d, ":")
			rules = append(rules, rule)
		}
		if got := strings.Join(rules, ", "); got != want {
			t.Errorf("%q: %s, want %s", text, doubts, want)
		}
	}
}

func TestCheckFails(t *testing.T) {
	doubts, err := checked(t, "# check=error=true\nFROM a\nCMD x\nENTRYPOINT y\nEXPOSE 1/TCP", dockerfile.Options{}, "")
	if fault.KindOf(err) != fault.Gate || !strings.Contains(err.Error(), "against the rules ExposeProtoCasing, JSONArgsRecommended") || len(doubts) != 3 {
		t.Errorf("%v, %q", err, doubts)
	}
	if _, err := checked(t, "FROM a\nFROM absent\nEXPOSE x", dockerfile.Options{}, ""); err == nil || err.Error() != "Dockerfile:2: no such image" {
		t.Error(err)
	}
	if _, err := checked(t, "FROM a\nCMD x\nEXPOSE x", dockerfile.Options{}, ""); err == nil || !strings.HasPrefix(err.Error(), "Dockerfile:3: x is no port") {
		t.Error(err)
	}
}

// TestUnneeded wants stages that the target does not need to cost nothing, and their errors to matter to nobody.
func TestUnneeded(t *testing.T) {
	c := withFiles(t, "FROM absent:1 AS a\nRUN make\nFROM scratch AS b\nCOPY x /\nFROM absent:2\nCOPY --from=b x /y\nCOPY nothing /", map[string][]byte{"x": nil})
	c.opts.Target = "b"
	if _, err := c.tryBuild(t); err != nil {
		t.Error(err)
	}
}

// TestParallel wants stages that do not wait for each other to be carried out at the same time: each of two bases is given
// only when the other's layers have been asked for.
func TestParallel(t *testing.T) {
	f, err := dockerfile.Parse("Dockerfile", []byte("FROM a AS one\nWORKDIR /x\nFROM b AS two\nWORKDIR /x\nFROM scratch\nCOPY --from=one /x /\nCOPY --from=two /x /\n"), dockerfile.Options{})
	must(t, err)
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	var both sync.WaitGroup
	both.Add(2)
	_, err = f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: func(_ context.Context, _ string, p v1.Platform) (v1.Image, error) {
		img, err := baseImage(p, types.OCIManifestSchema1, v1.Config{}, "f a 644 a")
		return meeting{img, &both}, err
	}}, nil)
	must(t, err)
}

type meeting struct {
	v1.Image
	both *sync.WaitGroup
}

func (m meeting) Layers() ([]v1.Layer, error) {
	m.both.Done()
	m.both.Wait()
	return m.Image.Layers()
}

// TestContexts wants further build contexts to go before images and stages of their names.
func TestContexts(t *testing.T) {
	c := withFiles(t, "FROM alpine AS base\nFROM absent AS replaced\nRUN make\nFROM base\nCOPY --from=extra dir/f /a\n"+
		"COPY --from=replaced dir/f /b\nCOPY --from=docker.io/library/tool:latest /usr/bin/bash /c", nil)
	other := t.TempDir()
	must(t, os.MkdirAll(filepath.Join(other, "dir"), 0o755))
	must(t, os.WriteFile(filepath.Join(other, "dir", "f"), []byte("f"), 0o644))
	must(t, os.WriteFile(filepath.Join(other, "hidden"), nil, 0o644))
	must(t, os.WriteFile(filepath.Join(other, ".dockerignore"), []byte("hidden"), 0o644))
	c.opts.Contexts = map[string]string{"alpine": "docker-image://debian:12", "tool": "docker-image://debian:12", "extra": other, "replaced": other}
	build := func(text string) (v1.Image, error) {
		f, err := dockerfile.Parse("Dockerfile", []byte(text), c.opts)
		must(t, err)
		root, err := os.OpenRoot(other)
		must(t, err)
		t.Cleanup(func() { root.Close() })
		own, err := os.OpenRoot(c.dir)
		must(t, err)
		t.Cleanup(func() { own.Close() })
		return f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(own), Base: bases, Contexts: map[string]dockerfile.Context{"extra": dockerfile.Folder(root), "replaced": dockerfile.Folder(root)}}, nil)
	}
	img, err := build(string(c.dockerfile))
	must(t, err)
	got := describe(t, img)
	for _, line := range []string{"f 644 0:0 a \"f\"", "f 644 0:0 b \"f\"", "f 755 0:0 c \"#!\""} {
		if !strings.Contains(got, line) {
			t.Errorf("%s is not in\n%s", line, got)
		}
	}
	for text, want := range map[string]string{
		"FROM scratch\nCOPY --from=extra hidden /": "Dockerfile:2: hidden is left out by .dockerignore",
		"FROM scratch\nCOPY --from=extra ../x /":   "Dockerfile:2: ../x is not in the build context",
	} {
		if _, err := build(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
	c.opts.Contexts["scratch"] = "docker-image://absent"
	if _, err := build("FROM scratch\nENV A=1"); err != nil {
		t.Error("scratch was replaced:", err)
	}
	for text, want := range map[string]string{
		"FROM extra\nENV A=1":         "Dockerfile:1: FROM the folder of --build-context extra is not yet supported",
		"FROM x AS extra":             "Dockerfile:1: FROM the folder of --build-context extra is not yet supported",
		"FROM x AS extra\nFROM extra": "Dockerfile:2: FROM the folder of --build-context extra is not yet supported",
	} {
		if _, err := dockerfile.Parse("Dockerfile", []byte(text), c.opts); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// TestTriggers wants what a base image demands with ONBUILD carried out, copies from stages and images among it.
func TestTriggers(t *testing.T) {
	c := withFiles(t, "FROM debian:12 AS tools\nFROM demanding\nENV LATER=1", map[string][]byte{"x": []byte("x")})
	f, err := dockerfile.Parse("Dockerfile", c.dockerfile, c.opts)
	must(t, err)
	root, err := os.OpenRoot(c.dir)
	must(t, err)
	defer root.Close()
	img, err := f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: func(ctx context.Context, ref string, p v1.Platform) (v1.Image, error) {
		if ref == "demanding" {
			return baseImage(p, types.OCIManifestSchema1, v1.Config{OnBuild: []string{"COPY x /own", "COPY --from=tools /usr/bin/bash /stage",
				"COPY --from=debian:12 /usr/bin/bash /image", "ENV EARLIER=1"}})
		}
		return bases(ctx, ref, p)
	}}, nil)
	must(t, err)
	got := describe(t, img)
	for _, line := range []string{`own "x"`, `stage "#!"`, `image "#!"`, "\"EARLIER=1\",\n    \"LATER=1\""} {
		if !strings.Contains(got, line) {
			t.Errorf("%s is not in\n%s", line, got)
		}
	}
	if strings.Contains(got, "OnBuild") {
		t.Error("what was carried out is demanded again")
	}
}

// TestUnknownOwner wants a name that the image does not know to be told of.
func TestUnknownOwner(t *testing.T) {
	c := withFiles(t, "FROM debian:12\nCOPY --chown=nobody:app x /\nUSER strange\nWORKDIR /w", map[string][]byte{"x": nil})
	var doubts []string
	c.opts.Warn = func(_ string, line int, message string) { doubts = append(doubts, message) }
	got := describe(t, c.build(t))
	if !strings.Contains(got, "f 644 0:1001 x") || !strings.Contains(got, "d 755 0:0 w/") {
		t.Error(got)
	}
	want := []string{"neither /etc/passwd nor /etc/group of the image names nobody: root is taken",
		"neither /etc/passwd nor /etc/group of the image names strange: root is taken"}
	if d := diff.Diff(want, doubts); d != "" {
		t.Error(d)
	}
}

// TestStartInterval wants a field of health checks that go-containerregistry does not know to be written and inherited.
func TestStartInterval(t *testing.T) {
	c := withFiles(t, "FROM scratch\nHEALTHCHECK --interval=30s --start-interval=5s CMD [\"x\"]\nCOPY x /", map[string][]byte{"x": nil})
	first := c.build(t)
	describe(t, first)
	for text, want := range map[string]bool{
		"FROM first\nENV A=1": true, "FROM first AS a\nFROM a": true, "FROM first\nHEALTHCHECK NONE": false, "FROM first\nHEALTHCHECK CMD [\"y\"]": false,
	} {
		f, err := dockerfile.Parse("Dockerfile", []byte(text), c.opts)
		must(t, err)
		root, err := os.OpenRoot(c.dir)
		must(t, err)
		defer root.Close()
		img, err := f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: func(context.Context, string, v1.Platform) (v1.Image, error) { return first, nil }}, nil)
		must(t, err)
		raw, err := img.RawConfigFile()
		must(t, err)
		if has := strings.Contains(string(raw), `"StartInterval":5000000000`); has != want {
			t.Errorf("%q: %s", text, raw)
		}
	}
}

// TestNoPasswordInHistory wants an address with a password to be refused: the image's history would tell it.
func TestNoPasswordInHistory(t *testing.T) {
	for _, source := range []string{"https://user:S3cret@example.com/x", "https://user:S3cret@example.com/x.git"} {
		f, err := dockerfile.Parse("Dockerfile", []byte("FROM scratch\nADD "+source+" /"), dockerfile.Options{})
		must(t, err)
		root, err := os.OpenRoot(t.TempDir())
		must(t, err)
		defer root.Close()
		_, err = f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root),
			Download: func(context.Context, string) (*os.File, time.Time, error) { panic("fetched") },
			Clone:    func(context.Context, dockerfile.Repository) (*os.File, error) { panic("cloned") },
		}, nil)
		if err == nil || !strings.Contains(err.Error(), "history would keep the password") || strings.Contains(err.Error(), "S3cret") {
			t.Error(err)
		}
	}
}

// TestReplacedDirectory wants an archive that puts a file in a directory's place, and then a directory in that one's, to
// show nothing of the first, of the image or of its own.
func TestReplacedDirectory(t *testing.T) {
	c := withFiles(t, "FROM debian:12\nADD a /", map[string][]byte{
		"a": tarball(t, "f opt/old/mine 644 x", "f opt/old 644 x", "d 755 opt/old/", "f opt/old/new 644 new")})
	got, _, _ := strings.Cut(describe(t, c.build(t)), "base\n")
	if want := "layer 2\nd 755 0:0 opt/\nd 755 0:0 opt/old/\nf 000 0:0 opt/old/.wh..wh..opq \"\"\nf 644 0:0 opt/old/new \"new\"\n"; got != want {
		t.Errorf("%s\nwant %s", got, want)
	}
}

// TestParentsKeepTheirs wants directories that COPY --parents finds in place to get the source's mode once, and new ones the
// mode that was asked for.
func TestParentsKeepTheirs(t *testing.T) {
	c := withFiles(t, "FROM debian:12\nCOPY --parents --chmod=711 opt/deep/* /", nil)
	must(t, os.MkdirAll(filepath.Join(c.dir, "opt", "deep"), 0o755))
	for _, name := range []string{"x", "y"} {
		must(t, os.WriteFile(filepath.Join(c.dir, "opt", "deep", name), nil, 0o644))
	}
	must(t, os.Chmod(filepath.Join(c.dir, "opt"), 0o750))
	got := describe(t, c.build(t))
	for _, line := range []string{"d 750 0:0 opt/\n", "d 711 0:0 opt/deep/ ", "f 711 0:0 opt/deep/x "} {
		if !strings.Contains(got, line) {
			t.Errorf("%s is not in\n%s", line, got)
		}
	}
}
