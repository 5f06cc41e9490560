package layerdir_test

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
)

// FuzzDiff changes a root filesystem at random, several times, and wants the layers to come to the same again: as tars, and
// as directories.
func FuzzDiff(f *testing.F) {
	needRoot(f)
	for seed := range uint64(15) {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, seed uint64) {
		noLeak(t)
		rnd := rand.New(rand.NewPCG(seed, 1))
		dir := t.TempDir()
		root := filepath.Join(dir, "root")
		must(t, layerdir.Compose(t.Context(), root))
		before, err := layerdir.Look(t.Context(), root)
		must(t, err)
		var layers []string
		var tars [][]byte
		for round := range 4 {
			scramble(root, rnd, 60)
			want, err := describe(root)
			must(t, err)
			layer := filepath.Join(dir, fmt.Sprint("layer", round))
			before, err = layerdir.Diff(t.Context(), root, before, layer)
			must(t, err)
			tarred, entries := pack(t, layer, layers...)
			layers, tars = append(layers, layer), append(tars, tarred)

			whole := filepath.Join(dir, fmt.Sprint("whole", round))
			must(t, layerdir.Unpack(t.Context(), whole, append(readers(tars), bytes.NewReader(nil))...))
			compare(t, "tars", whole, want)
			if diff := cmp.Diff(linked(t, root, entries), linked(t, whole, entries)); diff != "" {
				t.Errorf("links: %s", diff)
			}
			compare(t, "directories", composed(t, layers), want)
			compare(t, "unpacked one by one", composed(t, unpacked(t, tars)), want)
			if again, _ := pack(t, unpacked(t, tars)[round], layers[:round]...); !bytes.Equal(again, tarred) {
				t.Error("packing what was unpacked gives another tar")
			}
		}
	})
}

func readers(tars [][]byte) (all []io.Reader) {
	for _, b := range tars {
		all = append(all, bytes.NewReader(b))
	}
	return all
}

// composed is the root filesystem that layer directories come to.
func composed(t *testing.T, layers []string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "composed")
	must(t, layerdir.Compose(t.Context(), dir, layers...))
	return dir
}

// unpacked are layer directories of tars.
func unpacked(t *testing.T, tars [][]byte) (layers []string) {
	t.Helper()
	dir := t.TempDir()
	for i, b := range tars {
		layer := filepath.Join(dir, fmt.Sprint(i))
		must(t, layerdir.Unpack(t.Context(), layer, bytes.NewReader(b)))
		layers = append(layers, layer)
	}
	return layers
}

// compare wants a tree to be as it was described. No layer holds sockets or attributes of users.
func compare(t *testing.T, what, dir string, want map[string]string) {
	t.Helper()
	have, err := describe(dir)
	must(t, err)
	if diff := cmp.Diff(want, have); diff != "" {
		t.Fatalf("%s (-want +have):\n%s", what, strings.TrimSpace(diff))
	}
}
