package dockerfile_test

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/sandbox/step"
)

// TestOracle builds testdata/oracle/*.txtar and wants what BuildKit made of them. What a case may say is in
// testdata/oracle/README.md. With IMGBUMP_BUILDKIT, a folder with buildkitd and buildctl, it has BuildKit build them
// instead, and with -update too it records what BuildKit makes.
func TestOracle(t *testing.T) {
	files, err := filepath.Glob("testdata/oracle/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no cases", err)
	}
	bases := oracleBases(t)
	start := sandboxes(t)
	var daemon *buildkit
	if dir := os.Getenv("IMGBUMP_BUILDKIT"); dir != "" {
		daemon = startBuildKit(t, dir, bases)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			c := readOracleCase(t, file, bases)
			switch {
			case daemon != nil:
				daemon.try(t, c)
			case strings.HasPrefix(t.Name(), "TestOracle/run-"):
				for _, isolation := range []string{sandbox.UserNamespace, sandbox.Chroot} {
					t.Run(isolation, func(t *testing.T) {
						t.Parallel()
						c := readOracleCase(t, file, bases)
						c.sandbox, c.differs = start(t, isolation), cmp.Or(c.differsIn[isolation], c.differs)
						c.judge(t, c.ours(t))
					})
				}
			default:
				c.judge(t, c.ours(t))
			}
		})
	}
}

// judge compares what this builder made with what BuildKit made. A case that is known to differ must still do so.
func (c *oracleCase) judge(t *testing.T, got string) {
	t.Helper()
	want := strings.ReplaceAll(c.want, " (empty layer)\n", " (no layer)\n") // we make none
	if refused, _, ok := strings.Cut(want, "\n"); ok && strings.HasPrefix(want, "refused") {
		want = refused + "\n" // the words are ours
		if refused == "refused" && strings.HasPrefix(got, "refused") {
			want = got // BuildKit does not say where
		}
	}
	d := diff.Diff(want, got)
	switch {
	case d != "" && c.differs == "":
		t.Error("-BuildKit +ours\n", d)
	case d != "":
		t.Skip("differs, as is known: " + c.differs)
	case c.differs != "":
		t.Error("does not differ any more; drop the line that says it does")
	}
}

// ours is what this builder makes of the case.
func (c *oracleCase) ours(t *testing.T) string {
	t.Helper()
	var out strings.Builder
	var warnings []string
	warn := func(_ string, line int, message string) {
		if linterRule.MatchString(message) {
			warnings = append(warnings, fmt.Sprintf("warning %d %s (line %d)\n", line, message, line))
		}
	}
	for _, platform := range c.platforms {
		img, err := c.ourImage(t, platform, warn)
		if err != nil {
			t.Log(err)
			return refusal(err)
		}
		out.WriteString(c.describe(t, img, created))
	}
	slices.Sort(warnings)
	return out.String() + strings.Join(slices.Compact(warnings), "")
}

// linterRule begins what a rule of BuildKit's linter finds; other warnings are ours.
var linterRule = regexp.MustCompile(`^[A-Z][A-Za-z]+: `)

func (c *oracleCase) ourImage(t *testing.T, platform v1.Platform, warn func(string, int, string)) (v1.Image, error) {
	t.Helper()
	f, err := dockerfile.Parse("Dockerfile", c.dockerfile, dockerfile.Options{Target: c.target, Args: c.args, Labels: c.labels,
		Platform: platform, Created: created, Contexts: c.contexts, Network: step.Network(c.network), Hosts: hostLines(c.hosts),
		ShmSize: c.shmSize, Limits: c.limits, Warn: warn})
	if err != nil {
		return nil, err
	}
	sources := dockerfile.Sources{Context: dockerfile.Folder(openRoot(t, c.context())), Ignore: c.ignore, IgnoreFile: ".dockerignore",
		Contexts: map[string]dockerfile.Context{}, Base: c.bases.pull, Download: c.download(t), Clone: c.clone(t),
		Secrets: c.secret, SSH: c.agents}
	if c.sandbox != nil {
		sources.Sandbox = c.sandbox
	}
	for name, folder := range c.contexts {
		if !strings.Contains(folder, "://") {
			sources.Contexts[name] = dockerfile.Folder(openRoot(t, c.path(folder)))
		}
	}
	return f.Build(t.Context(), sources, nil)
}

func (c *oracleCase) secret(id string) ([]byte, bool) {
	value, ok := c.secrets[id]
	return []byte(value), ok
}

// hostLines are lines of /etc/hosts for NAME=IP.
func hostLines(hosts []string) (lines []string) {
	for _, h := range hosts {
		name, address, _ := strings.Cut(h, "=")
		lines = append(lines, address+"\t"+name)
	}
	return lines
}

func openRoot(t *testing.T, dir string) *os.Root {
	t.Helper()
	root, err := os.OpenRoot(dir)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	return root
}

// refusal is an error as a case records it: by its line.
func refusal(err error) string {
	var located *fault.Error
	if errors.As(err, &located) && located.Where != "" {
		return "refused at " + located.Where + "\n"
	}
	return "refused\n"
}

// oracleCase is a Dockerfile, the flags it is built with, and folders on disk.
type oracleCase struct {
	file    string
	archive *txtar.Archive
	bases   oracleImages
	dir     string // holds a folder for each context
	want    string
	differs string // why this builder makes something else
	entries bool   // what each layer names is compared, not only what all of them amount to

	dockerfile, ignore []byte
	args, labels       map[string]string
	target             string
	platforms          []v1.Platform
	contexts           map[string]string    // --build-context
	times              map[string]time.Time // of files that are not of written
	stable             []string             // pairs of what differs from run to run and what it is recorded as
	output             string               // more of BuildKit's exporter options

	secrets, agents map[string]string // --secret by ids, --ssh's sockets by theirs
	hosts, limits   []string          // --add-host NAME=IP, --ulimit
	network         string            // --network
	shmSize         int64             // --shm-size, in bytes

	sandbox   *sandbox.Sandbox  // nil when nothing is run
	differsIn map[string]string // differs, by isolations
}

func readOracleCase(t *testing.T, file string, bases oracleImages) *oracleCase {
	t.Helper()
	archive, err := txtar.ParseFile(file)
	must(t, err)
	c := &oracleCase{file: file, archive: archive, bases: bases, dir: t.TempDir(),
		args: map[string]string{}, labels: map[string]string{}, contexts: map[string]string{},
		times: map[string]time.Time{}, secrets: map[string]string{}, agents: map[string]string{},
		differsIn: map[string]string{}}
	must(t, os.Mkdir(c.context(), 0o755))
	for _, f := range archive.Files {
		switch {
		case f.Name == "want":
			c.want = string(f.Data)
		case !strings.HasPrefix(f.Name, "tar:"):
			must(t, os.MkdirAll(filepath.Dir(c.path(f.Name)), 0o755))
			must(t, os.WriteFile(c.path(f.Name), f.Data, 0o644))
		}
	}
	for line := range strings.Lines(string(archive.Comment)) {
		if words := strings.Fields(line); len(words) > 0 && words[0] != "#" {
			c.set(t, words[0], words[1:], strings.TrimSpace(strings.TrimPrefix(line, words[0])))
		}
	}
	if program, err := os.ReadFile(busybox); err == nil { // of another size and content on another machine
		c.stable = append(c.stable, fmt.Sprintf("%d bytes sha256:%x", len(program), sha256.Sum256(program)), "busybox")
	}
	if len(c.platforms) == 0 {
		c.platforms = []v1.Platform{{OS: "linux", Architecture: "amd64"}}
	}
	c.age(t)
	c.dockerfile, _ = os.ReadFile(c.path("Dockerfile"))
	for _, name := range []string{"Dockerfile.dockerignore", ".dockerignore"} {
		if c.ignore, err = os.ReadFile(c.path(name)); err == nil {
			break
		}
	}
	return c
}

// context is the folder of the build's context. Others stand beside it.
func (c *oracleCase) context() string { return filepath.Join(c.dir, "context") }

// path is where a name of the case is: in the context, or for @OTHER/NAME in another one.
func (c *oracleCase) path(name string) string {
	if other, ok := strings.CutPrefix(name, "@"); ok {
		return filepath.Join(c.dir, filepath.FromSlash(other))
	}
	return filepath.Join(c.context(), filepath.FromSlash(name))
}

// age makes everything in the contexts as old as written.
func (c *oracleCase) age(t *testing.T) {
	t.Helper()
	must(t, filepath.WalkDir(c.dir, func(name string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return setTime(name, cmp.Or(c.times[name], written))
	}))
}

// epoch is the case's SOURCE_DATE_EPOCH, or no time.
func (c *oracleCase) epoch() time.Time {
	seconds, err := strconv.ParseInt(c.args["SOURCE_DATE_EPOCH"], 10, 64)
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}

// settled is a text with what differs from run to run replaced.
func (c *oracleCase) settled(text string) string {
	return strings.NewReplacer(c.stable...).Replace(text)
}

// record writes what BuildKit made into the case.
func (c *oracleCase) record(t *testing.T, got string) {
	t.Helper()
	kept := c.archive.Files[:0]
	for _, f := range c.archive.Files {
		if f.Name != "want" {
			kept = append(kept, f)
		}
	}
	c.archive.Files = append(kept, txtar.File{Name: "want", Data: []byte(got)})
	must(t, os.WriteFile(c.file, txtar.Format(c.archive), 0o644))
}
