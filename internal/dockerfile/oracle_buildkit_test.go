package dockerfile_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	diff "github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// buildkit is a BuildKit daemon that lives as long as the test.
type buildkit struct {
	buildctl string
	address  string
	start    time.Time
}

// startBuildKit runs the buildkitd of a folder. It needs root and runc.
func startBuildKit(t *testing.T, dir string, bases oracleImages) *buildkit {
	t.Helper()
	registry := registrytest.Start(t, registrytest.Config{})
	bases.push(t, registry.Host)
	root := t.TempDir()
	b := &buildkit{start: time.Now().Truncate(time.Second), buildctl: filepath.Join(dir, "buildctl"), address: "unix://" + filepath.Join(root, "socket")}
	config := fmt.Sprintf(`root = %q
insecure-entitlements = ["network.host"]
[grpc]
address = [%q]
[worker.oci]
snapshotter = "overlayfs"
networkMode = "host"
[worker.containerd]
enabled = false
[registry."registry.test"]
mirrors = [%q]
[registry.%[3]q]
http = true
`, filepath.Join(root, "root"), b.address, registry.Host)
	must(t, os.WriteFile(filepath.Join(root, "config.toml"), []byte(config), 0o600))
	log, err := os.Create(filepath.Join(root, "log"))
	must(t, err)
	daemon := exec.Command(filepath.Join(dir, "buildkitd"), "--config", filepath.Join(root, "config.toml"))
	daemon.Stdout, daemon.Stderr = log, log
	must(t, daemon.Start())
	t.Cleanup(func() {
		_ = daemon.Process.Signal(syscall.SIGTERM)
		_ = daemon.Wait()
		log.Close()
	})
	if out, err := exec.Command(b.buildctl, "--addr", b.address, "--wait", "--timeout", "30", "debug", "workers").CombinedOutput(); err != nil {
		text, _ := os.ReadFile(log.Name())
		t.Fatalf("BuildKit does not start: %v: %s\n%s", err, out, text)
	}
	return b
}

// push gives the images to a registry.
func (all oracleImages) push(t *testing.T, host string) {
	t.Helper()
	for _, base := range all {
		ref, err := name.ParseReference(strings.Replace(base.ref, "registry.test", host, 1)+":latest", name.Insecure)
		must(t, err)
		var adds []mutate.IndexAddendum
		for platform, img := range base.images {
			if base.single {
				must(t, remote.Write(ref, img))
				continue
			}
			p, err := v1.ParsePlatform(platform)
			must(t, err)
			adds = append(adds, mutate.IndexAddendum{Add: img, Descriptor: v1.Descriptor{Platform: p}})
		}
		if !base.single {
			must(t, remote.WriteIndex(ref, mutate.AppendManifests(empty.Index, adds...)))
		}
	}
}

// try records what BuildKit makes of a case, or compares it with what is recorded.
func (b *buildkit) try(t *testing.T, c *oracleCase) {
	t.Helper()
	got := b.build(t, c)
	if *update {
		c.record(t, got)
	} else if d := diff.Diff(c.want, got); d != "" {
		t.Error("BuildKit made something else: -recorded +now\n", d)
	}
}

// build is what BuildKit makes of a case.
func (b *buildkit) build(t *testing.T, c *oracleCase) string {
	t.Helper()
	out := filepath.Join(c.dir, "buildkit.tar")
	// Lest BuildKit takes a file for one of the same size and time in another case.
	must(t, exec.Command(b.buildctl, "--addr", b.address, "prune", "--all").Run())
	args := []string{"--addr", b.address, "build", "--no-cache", "--allow", "network.host", "--progress", "rawjson", "--frontend", "dockerfile.v0",
		"--local", "context=" + c.context(), "--local", "dockerfile=" + c.context(),
		"--output", "type=oci,dest=" + out + c.output}
	option := func(key, value string) { args = append(args, "--opt", key+"="+value) }
	for key, value := range c.args {
		option("build-arg:"+key, value)
	}
	for key, value := range c.labels {
		option("label:"+key, value)
	}
	if c.target != "" {
		option("target", c.target)
	}
	var platforms []string
	for _, p := range c.platforms {
		platforms = append(platforms, p.String())
	}
	option("platform", strings.Join(platforms, ","))
	for id, value := range c.secrets {
		file := filepath.Join(c.dir, "secret-"+id)
		must(t, os.WriteFile(file, []byte(value), 0o600))
		args = append(args, "--secret", "id="+id+",src="+file)
	}
	for id, socket := range c.agents {
		args = append(args, "--ssh", id+"="+socket)
	}
	if len(c.hosts) > 0 {
		option("add-hosts", strings.Join(c.hosts, ","))
	}
	if len(c.limits) > 0 {
		option("ulimit", strings.Join(c.limits, ","))
	}
	if c.network != "" {
		option("force-network-mode", c.network)
	}
	if c.shmSize > 0 {
		option("shm-size", strconv.FormatInt(c.shmSize, 10))
	}
	for key, value := range c.contexts {
		if strings.Contains(value, "://") {
			option("context:"+key, value)
			continue
		}
		option("context:"+key, "local:"+key)
		args = append(args, "--local", key+"="+c.path(value))
	}
	cmd := exec.Command(b.buildctl, args...)
	var progress bytes.Buffer
	cmd.Stderr = &progress
	if err := cmd.Run(); err != nil {
		return c.settled(buildkitRefusal(progress.String()))
	}
	warnings := buildkitWarnings(t, progress.Bytes())
	artifact, closer, err := image.Open(t.Context(), out)
	must(t, err)
	defer closer.Close()
	var text strings.Builder
	for _, img := range imagesOf(t, artifact) {
		text.WriteString(c.describe(t, img, b.start))
	}
	return text.String() + c.settled(strings.Join(warnings, ""))
}

// imagesOf is one image, or those of an index.
func imagesOf(t *testing.T, artifact image.Artifact) []v1.Image {
	t.Helper()
	if img, ok := artifact.(v1.Image); ok {
		return []v1.Image{img}
	}
	index := artifact.(v1.ImageIndex)
	manifest, err := index.IndexManifest()
	must(t, err)
	var images []v1.Image
	for _, m := range manifest.Manifests {
		img, err := index.Image(m.Digest)
		must(t, err)
		images = append(images, img)
	}
	return images
}

var (
	sourceLine = regexp.MustCompile(`(?m)^Dockerfile:(\d+)$`)
	parseError = regexp.MustCompile(`dockerfile parse error on line (\d+)`)
	ownPlaces  = regexp.MustCompile(`/\S+/(cachemounts/buildkit\d+|snapshots/\d+/fs)| of ref [^ ]+:|: failed to do request: .*`)
	lastError  = regexp.MustCompile(`(?m)^error: (.*)$`)
)

// buildkitRefusal is the line of the Dockerfile, if BuildKit tells one, and what it says.
func buildkitRefusal(progress string) string {
	message := "?"
	if m := lastError.FindAllStringSubmatch(progress, -1); m != nil {
		message = ownPlaces.ReplaceAllString(m[len(m)-1][1], "")
	}
	for _, where := range []*regexp.Regexp{parseError, sourceLine} {
		if m := where.FindStringSubmatch(progress); m != nil {
			return fmt.Sprintf("refused at Dockerfile:%s\n%s\n", m[1], message)
		}
	}
	return "refused\n" + message + "\n"
}

// buildkitWarnings are what the linter of BuildKit finds, by line.
func buildkitWarnings(t *testing.T, progress []byte) []string {
	t.Helper()
	var all []string
	for line := range bytes.Lines(progress) {
		var status struct {
			Warnings []struct {
				Short []byte                               `json:"short"`
				Range []struct{ Start struct{ Line int } } `json:"range"`
			} `json:"warnings"`
		}
		if json.Unmarshal(line, &status) != nil {
			continue
		}
		for _, w := range status.Warnings {
			at := 0
			if len(w.Range) > 0 {
				at = w.Range[0].Start.Line
			}
			all = append(all, fmt.Sprintf("warning %d %s\n", at, w.Short))
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}
