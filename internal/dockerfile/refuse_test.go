package dockerfile_test

import (
	"context"
	"errors"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
)

// TestParseRefuses holds what is refused before anything is fetched or built, at which line, in which words.
func TestParseRefuses(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	for _, tt := range []struct{ dockerfile, want, hint string }{
		{"", "Dockerfile:1: file with no instructions", ""},
		{"ARG A\n", "Dockerfile:1: there is no FROM, so no stage to build", ""},
		{"COPY a b\n", "Dockerfile:1: no build stage in current context", ""},
		{"FROM scratch\n\nCOPPY a b\n", "Dockerfile:3: unknown instruction: COPPY (did you mean COPY?)", ""},
		{"FROM scratch\nCOPY a\n", "Dockerfile:2: COPY requires at least two arguments", ""},
		{"FROM scratch\nCOPY \\\n --form=a \\\n b c\n", "Dockerfile:2: unknown flag: --form (did you mean from?)", ""},
		{"FROM scratch\nCOPY <<EOF /a\nno end\n", "Dockerfile:2: unterminated heredoc", ""},
		{"FROM scratch\nRUN make\n", "Dockerfile:2: RUN cannot be carried out without a sandbox", "already"},
		{"FROM a\nRUN make\n", "Dockerfile:2: RUN cannot be carried out without a sandbox", ""},
		{"FROM scratch\nRUN --mount=type=cache,target=/x make\n", "Dockerfile:2: RUN cannot be carried out without a sandbox", ""},
		{"FROM scratch\nADD https://example.com/x /\n", "Dockerfile:2: https://example.com/x cannot be fetched here", "COPY"},
		{"FROM scratch\nADD https://user:secret@example.com/x /\n", "Dockerfile:2: https://example.com/x cannot", ""},
		{"FROM scratch\nADD git@example.com:a/b.git /\n", "Dockerfile:2: git@example.com:a/b.git cannot be fetched here", ""},
		{"FROM scratch\nADD https://example.com/a/b.git?nonsense=1 /\n", `Dockerfile:2: unexpected query "nonsense"`, ""},
		{"FROM scratch\nADD --keep-git-dir=false https://example.com/a.git?keep-git-dir=1 /\n", "Dockerfile:2: --keep-git-dir says other", ""},
		{"FROM scratch\nADD --checksum=sha256:00 https://example.com/x /\n", "Dockerfile:2: --checksum=sha256:00: ", ""},
		{"FROM scratch\nADD --checksum=sha256:00 x /\n", "Dockerfile:2: --checksum is for what is fetched, and x is a path", ""},
		{"FROM scratch\nCOPY --exclude=[ x /\n", "Dockerfile:2: --exclude: ", ""},
		{"FROM scratch\nCOPY https://example.com/x /\n", "Dockerfile:2: COPY cannot fetch https://example.com/x", ""},
		{"FROM scratch\nCOPY --chmod=u+xyz x /\n", "Dockerfile:2: --chmod=u+xyz is no mode", ""},
		{"FROM scratch\nCOPY --chmod=999 x /\n", "Dockerfile:2: --chmod=999 is no mode", ""},
		{"FROM scratch\nCOPY --chmod=10000 x /\n", "Dockerfile:2: --chmod=10000 is no mode", ""},
		{"FROM scratch AS a\nONBUILD RUN make\nFROM a\n", "Dockerfile:3: RUN cannot be carried out without a sandbox", ""},
		{"FROM scratch AS a\nONBUILD NONSENSE\nFROM a\n", "Dockerfile:3: ONBUILD NONSENSE: unknown instruction: NONSENSE", ""},
		{"FROM scratch AS a\nRUN make\nFROM scratch\nCOPY --from=a x /\n", "Dockerfile:2: RUN cannot be carried out without a sandbox", ""},
		{"# syntax=example.com/docker/dockerfiles:1\nFROM scratch\n", "Dockerfile:1: the frontend example.com/docker/dockerfiles:1 is not yet supported", ""},
		{"# syntax=harbor.example.com:5000/hub/docker/dockerfile-upstream:1.7@sha256:00\nFROM\n", "Dockerfile:2: FROM requires", ""},
		{"# syntax=example.com/frontend\nFROM scratch\n", "Dockerfile:1: the frontend example.com/frontend is not yet supported", "docker/dockerfile"},
		{"# check=nonsense=all\nFROM scratch\n", `Dockerfile:1: invalid check option "nonsense"`, ""},
		{"# escape=x\nFROM scratch\n", "Dockerfile:1: invalid escape token", ""},
		{"FROM ${NOTHING}\n", "Dockerfile:1: FROM ${NOTHING}: the variable is empty", "--build-arg"},
		{"FROM scratch AS base\nFROM Base\n", `Dockerfile:2: reference "Base": a repository is lower case`, "base"},
		{"FROM --platform=windows/amd64 a\n", "Dockerfile:1: platform windows/amd64 is not yet supported", ""},
		{"FROM --platform=$NOTHING a\n", "Dockerfile:1: --platform is empty", ""},
		{"FROM scratch\nCOPY --from=$X a /\n", "Dockerfile:2: --from=$X: variables are not expanded here", "FROM"},
		{"FROM scratch\nCOPY --from=0 a /\n", "Dockerfile:2: --from=0: no stage before this one", ""},
		{"FROM scratch AS a\nCOPY --from=b x /\nFROM scratch AS b\nFROM a\n", "Dockerfile:2: --from=b: the stage must end before", ""},
		{"FROM scratch AS a\nCOPY --from=a x /\n", "Dockerfile:2: --from=a: the stage must end before", ""},
		{"FROM scratch\nCOPY --from=a:b:c x /\n", `Dockerfile:2: reference "a:b:c"`, ""},
	} {
		f, err := dockerfile.Parse("Dockerfile", []byte(tt.dockerfile), dockerfile.Options{})
		if err == nil {
			_, err = f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: failing(errors.New("a base was asked for"))}, nil)
		}
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant %s", tt.dockerfile, err, tt.want)
		}
		if hint := fault.HintOf(err); !strings.Contains(hint, tt.hint) {
			t.Errorf("%q: hint %q, want %q in it", tt.dockerfile, hint, tt.hint)
		}
		if strings.Contains(tt.want, "not yet") && fault.HintOf(err) == "" {
			t.Errorf("%q: no hint says what to do", tt.dockerfile)
		}
		if kind := fault.KindOf(err); kind != fault.Failed {
			t.Errorf("%q: kind %d", tt.dockerfile, kind)
		}
	}
}

func TestParseTarget(t *testing.T) {
	text := []byte("FROM scratch AS one\nFROM scratch\n")
	_, err := dockerfile.Parse("Dockerfile", text, dockerfile.Options{Target: "tow"})
	if fault.KindOf(err) != fault.Usage || !strings.Contains(fault.HintOf(err), "one, 1") {
		t.Errorf("%v, hint %q", err, fault.HintOf(err))
	}
	if _, err := dockerfile.Parse("Dockerfile", text, dockerfile.Options{Target: "ONE"}); err != nil {
		t.Error(err)
	}
}

// TestBuildRefuses holds the errors that need a context or a base; none of them reads a file's content.
func TestBuildRefuses(t *testing.T) {
	for _, tt := range []struct{ instructions, want, hint string }{
		{"FROM scratch\nCOPY nothing /", "Dockerfile:2: nothing is not in the build context", ""},
		{"FROM scratch\nCOPY there nothing /", "Dockerfile:2: nothing is not in the build context", ""},
		{"FROM scratch\nCOPY no/* /", "Dockerfile:2: no/* is not in the build context", ""},
		{"FROM scratch\nCOPY ../nothing /", "Dockerfile:2: ../nothing is not in the build context", "inside the build context"},
		{"FROM scratch\nCOPY ignored /", "Dockerfile:2: ignored is left out by .dockerignore", "!ignored"},
		{"FROM scratch\nCOPY thre /", "Dockerfile:2: thre is not in the build context (did you mean there?)", ""},
		{"FROM scratch\nCOPY dir/sub/y /", "Dockerfile:2: dir/sub/y is not in the build context (did you mean dir/sub/x?)", ""},
		{"FROM scratch\nCOPY --parents dir/nothing /", "Dockerfile:2: dir/nothing is not in the build context", ""},
		{"FROM scratch\nCOPY there/x /", "Dockerfile:2: there/x is not in the build context", ""},
		{"FROM scratch\nCOPY [\"th[ere\", \"/\"]", "Dockerfile:2: th[ere: the pattern th[ere is broken", ""},
		{"FROM scratch\nCOPY outside /", "Dockerfile:2: outside is a link to ../elsewhere, which is outside of the build context", ""},
		{"FROM scratch\nCOPY absolute /", "Dockerfile:2: absolute is a link to /etc/passwd, which is not in the build context", ""},
		{"FROM scratch\nCOPY dangling/x /", "Dockerfile:2: dangling is a link to nowhere, which is not in the build context", ""},
		{"FROM scratch\nCOPY ..there /", "Dockerfile:2: ..there is not in the build context (did you mean there?)", ""},
		{"FROM scratch\nCOPY ign* sub/../to-ignored /", "Dockerfile:2: to-ignored leads to ignored, which is left out by .dockerignore", "!ignored"},
		{"FROM scratch\nCOPY hidden/[a-z] /", "Dockerfile:2: hidden/x is left out by .dockerignore", "!hidden/x"},
		{"FROM debian:12 AS a\nFROM scratch\nCOPY --from=a opt/none /", "Dockerfile:3: opt/none is not in the stage a", ""},
		{"FROM scratch\nCOPY loop /", "Dockerfile:2: loop: /loop leads through too many symbolic links", ""},
		{"FROM evil:1\nCOPY there /loop/x", "Dockerfile:2: there: /loop leads through too many symbolic links", ""},
		{"FROM scratch\nCOPY there /a\nCOPY there /a/b", "Dockerfile:3: there: /a is not a directory", ""},
		{"FROM scratch\nCOPY dir /\nCOPY there /x/sub\nCOPY dir /x", "Dockerfile:4: dir: /x/sub is not a directory", ""},
		{"FROM debian:12\nCOPY usr /", "Dockerfile:2: usr: /bin is not a directory", ""},
		{"FROM scratch\nCOPY there /bin/there/there\nCOPY usr/bin /bin", "Dockerfile:3: usr/bin: the directory /bin/there cannot be replaced", ""},
		{"FROM scratch\nCOPY --chown=app there /", "Dockerfile:2: --chown=app: FROM scratch has neither users nor groups", "numbers"},
		{"FROM debian:12\nCOPY --link --chown=app there /", "Dockerfile:2: --chown=app: with --link only numbers", ""},
		{"FROM scratch\nCOPY there /file\nWORKDIR /file", "Dockerfile:3: /file is not a directory", ""},
		{"FROM scratch\nCOPY --from=debian:12 /nothing /", "Dockerfile:2: /nothing is not in the image debian:12", ""},
		{"FROM debian:12 AS a\nFROM scratch\nCOPY --from=a /usr/bin/bsh /", "Dockerfile:3: /usr/bin/bsh is not in the stage a (did you mean /usr/bin/bash?)", ""},
		{"FROM absent:1\nCOPY there /", "Dockerfile:1: no such image: absent:1", ""},
		{"FROM scratch\nCOPY --from=absent:1 there /", "Dockerfile:2: no such image: absent:1", ""},
		{"FROM onbuild-run:1", "Dockerfile:1: RUN cannot be carried out without a sandbox", ""},
		{"FROM scratch\nARG U=https://example.com/\nADD ${U}x /", "Dockerfile:3: https://example.com/x cannot be fetched here", ""},
		{"FROM scratch\nARG M=u+xyz\nCOPY --chmod=$M there /", "Dockerfile:3: --chmod=u+xyz is no mode", ""},
		{"FROM scratch\nENV A=${B?told}", "Dockerfile:2: failed to process", ""},
		{"FROM scratch\nSTOPSIGNAL SIGNAL", "Dockerfile:2: STOPSIGNAL SIGNAL is no signal", ""},
		{"FROM scratch\nEXPOSE 70000", "Dockerfile:2: 70000 is no port", ""},
		{"FROM scratch\nEXPOSE 80/http", "Dockerfile:2: 80/http is no port", ""},
		{"FROM scratch\nEXPOSE 9-8", "Dockerfile:2: 9-8 is no port", ""},
		{"FROM scratch\nCOPY <<a/b /\na/b", "Dockerfile:2: <<a/b: the word must do as a file name", ""},
		{"FROM scratch\nCOPY <<.. /\n..", "Dockerfile:2: <<..: the word must do as a file name", ""},
		{"FROM scratch\nVOLUME $NOTHING", "Dockerfile:2: VOLUME is empty", ""},
	} {
		c := newCase(t, txtar.Parse([]byte("symlink outside ../elsewhere\nsymlink absolute /etc/passwd\nsymlink loop loop\n"+
			"symlink dangling nowhere\nsymlink to-ignored ignored\n"+
			"-- Dockerfile --\n"+tt.instructions+"\n-- .dockerignore --\nignored\nhidden\n-- hidden/x --\n-- ignored --\n-- there --\n-- dir/sub/x --\n"+
			"-- usr/bin/there --\n")))
		_, err := c.tryBuild(t)
		if err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%q:\n got %v\nwant %s", tt.instructions, err, tt.want)
		}
		if hint := fault.HintOf(err); !strings.Contains(hint, tt.hint) {
			t.Errorf("%q: hint %q, want %q in it", tt.instructions, hint, tt.hint)
		}
	}
}

// TestKind wants a base's error to keep its kind, for it decides the exit code.
func TestKind(t *testing.T) {
	f, err := dockerfile.Parse("Dockerfile", []byte("FROM a\n"), dockerfile.Options{})
	must(t, err)
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	cause := &fault.Error{Kind: fault.Denied, Hint: "log in", Err: errors.New("no")}
	_, err = f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: failing(cause)}, nil)
	if fault.KindOf(err) != fault.Denied || fault.HintOf(err) != "log in" || err.Error() != "Dockerfile:1: no" {
		t.Errorf("%v: kind %d, hint %q", err, fault.KindOf(err), fault.HintOf(err))
	}
}

// TestAsks wants each image that the target needs to be asked for once per platform, and no other.
func TestAsks(t *testing.T) {
	f, err := dockerfile.Parse("Dockerfile", []byte(`ARG TAG=1
FROM unneeded
FROM --platform=linux/amd64 golang:$TAG AS build
FROM build AS more
FROM scratch
COPY --from=build a /
COPY --from=more a /
COPY --from=tools:1 a /
COPY --from=tools:1 b /
COPY --from=golang:1 b /
`), dockerfile.Options{Platform: v1.Platform{OS: "linux", Architecture: "arm64"}})
	must(t, err)
	root, err := os.OpenRoot(t.TempDir())
	must(t, err)
	defer root.Close()
	var mu sync.Mutex
	var asked []string
	source := func(_ context.Context, ref string, p v1.Platform) (v1.Image, error) {
		mu.Lock()
		defer mu.Unlock()
		asked = append(asked, ref+" "+p.String())
		return baseImage(p, types.OCIManifestSchema1, v1.Config{}, "f a 644 a", "f b 644 b")
	}
	_, err = f.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: source}, nil)
	must(t, err)
	slices.Sort(asked)
	want := []string{"golang:1 linux/amd64", "golang:1 linux/arm64", "tools:1 linux/arm64"}
	if d := diff.Diff(want, asked); d != "" {
		t.Error(d)
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"FROM scratch", "ARG A=b\nFROM $A AS c\nCOPY --from=c a b", "FROM a\nONBUILD COPY --from=0 a b\nFROM a",
		"# escape=`\nFROM a\nCOPY a `\n b", "FROM a\nCOPY <<A <<-B /\nA\n\tB\n", "FROM --platform=a/b/c:d/e scratch\nEXPOSE 1-2:3-4/x",
		"FROM a\nADD --checksum=x https://b/c.git?d#e:f /\nADD git@g:h /", "FROM a\nCOPY --parents --exclude=** a/./**/b /", "# check=skip=all;error=true\nFROM a\n# check=skip=X\nCOPY --chmod=u+s,g=u --chown=a:b a b",
		"FROM a\nARG B=${C:-d}\nENV E=${B#x}${B%%y}${B/z/w}\nCOPY --link $E ."} {
		f.Add(s)
	}
	root, err := os.OpenRoot(f.TempDir())
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, s string) {
		file, err := dockerfile.Parse("Dockerfile", []byte(s), dockerfile.Options{})
		if err == nil {
			_, err = file.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Base: bases}, nil)
		}
		var located *fault.Error
		if err != nil && (!errors.As(err, &located) || !strings.HasPrefix(located.Where, "Dockerfile:")) {
			t.Errorf("%q: %v names no line", s, err)
		}
	})
}
