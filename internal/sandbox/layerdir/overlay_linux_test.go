package layerdir_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
	"github.com/ksera524/imgbump/internal/without"
)

// inOverlay is what a child process of TestOverlay is asked to do in namespaces of its own.
type inOverlay struct {
	Dir   string // holds the layers by their numbers, the directories merged and work
	Upper int    // number of the topmost layer
	Seed  uint64
}

const (
	inOverlayVariable = "LAYERDIR_IN_OVERLAY"
	onOverlayVariable = "LAYERDIR_ON_OVERLAY" // a folder with the directories merged, upper, empty and work
	cannotMount       = 77                    // exit code
)

func TestMain(m *testing.M) {
	if dir, ok := os.LookupEnv(onOverlayVariable); ok {
		if err := syscall.Mount("overlay", dir+"/merged", "overlay", 0, fmt.Sprintf("volatile,lowerdir=%[1]s/empty,upperdir=%[1]s/upper,workdir=%[1]s/work", dir)); err != nil {
			os.Exit(cannotMount)
		}
		os.Setenv("TMPDIR", dir+"/merged")
		os.Exit(m.Run())
	}
	asked, ok := os.LookupEnv(inOverlayVariable)
	if !ok {
		os.Exit(m.Run())
	}
	var o inOverlay
	err := json.Unmarshal([]byte(asked), &o)
	if err == nil {
		err = o.do()
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// do scrambles what is mounted, and prints its description.
func (o inOverlay) do() error {
	if err := os.Chdir(o.Dir); err != nil {
		return err
	}
	lower := []string{"empty"}
	for i := range o.Upper {
		lower = append([]string{fmt.Sprint(i)}, lower...)
	}
	options := fmt.Sprintf("userxattr,volatile,lowerdir=%s,upperdir=%d,workdir=work", strings.Join(lower, ":"), o.Upper)
	if err := syscall.Mount("overlay", "merged", "overlay", 0, options); err != nil {
		return fmt.Errorf("mounting %s: %w", options, err)
	}
	scramble("merged", rand.New(rand.NewPCG(o.Seed, uint64(o.Upper))), 60)
	told, err := describe("merged")
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(told)
}

// TestOverlay is FuzzDiff with upper directories that overlayfs itself makes, in a user namespace.
func TestOverlay(t *testing.T) {
	needRoot(t)
	for seed := range uint64(8) {
		dir := t.TempDir()
		must(t, os.Mkdir(filepath.Join(dir, "merged"), 0o755))
		must(t, os.Mkdir(filepath.Join(dir, "empty"), 0o755))
		var layers []string
		var tars [][]byte
		for round := range 5 {
			layer := filepath.Join(dir, fmt.Sprint(round))
			must(t, os.Mkdir(layer, 0o755))
			want := scrambled(t, inOverlay{dir, round, seed})
			tarred, entries := pack(t, layer, layers...)
			layers, tars = append(layers, layer), append(tars, tarred)
			t.Logf("seed %d, round %d: %s", seed, round, names(entries))

			whole := filepath.Join(dir, "whole")
			must(t, os.RemoveAll(whole))
			must(t, layerdir.Unpack(t.Context(), whole, append(readers(tars), bytes.NewReader(nil))...))
			compare(t, "tars", whole, want)
			if diff := cmp.Diff(linked(t, layer, entries), linked(t, whole, entries)); diff != "" {
				t.Errorf("links: %s", diff)
			}
			compare(t, "directories", composed(t, layers), want)
		}
	}
}

// TestOnOverlay runs other tests with everything on overlayfs, as in a container without a volume.
func TestOnOverlay(t *testing.T) {
	needRoot(t)
	dir := t.TempDir()
	for _, name := range []string{"merged", "upper", "empty", "work"} {
		must(t, os.Mkdir(filepath.Join(dir, name), 0o755))
	}
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self, "-test.run=^(TestUnpack|TestDiff|FuzzDiff)$/^(seed#[0-4])?$")
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", onOverlayVariable+"="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil || cmd.ProcessState.ExitCode() == cannotMount {
		without.Skip(t, fmt.Sprint("the right to mount: ", err))
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// scrambled is what a child process made.
func scrambled(t *testing.T, o inOverlay) (told map[string]string) {
	t.Helper()
	work := filepath.Join(o.Dir, "work")
	must(t, os.RemoveAll(work))
	must(t, os.Mkdir(work, 0o755))
	asked, err := json.Marshal(o)
	must(t, err)
	self, err := os.Executable()
	must(t, err)
	cmd := exec.Command(self)
	cmd.Env = append(os.Environ(), "GORACE=atexit_sleep_ms=0", inOverlayVariable+"="+string(asked))
	all := []syscall.SysProcIDMap{{Size: 65536}}
	cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS, UidMappings: all, GidMappings: all,
		GidMappingsEnableSetgroups: true, Pdeathsig: syscall.SIGKILL}
	var complaint strings.Builder
	cmd.Stderr = &complaint
	out, err := cmd.Output()
	if strings.Contains(complaint.String(), "mounting") || err != nil && complaint.Len() == 0 {
		without.Skip(t, fmt.Sprint("overlayfs in a user namespace: ", err, " ", complaint.String()))
	}
	if err != nil {
		t.Fatalf("%v: %s", err, complaint.String())
	}
	must(t, json.Unmarshal(out, &told))
	return told
}
