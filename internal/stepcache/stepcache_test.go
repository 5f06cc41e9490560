package stepcache_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/stepcache"
)

// kept is the manifest of an entry, and what a store has of its layer.
func kept(t testing.TB, e stepcache.Entry) (manifest, blob []byte) {
	t.Helper()
	if e.Layer != nil {
		r, err := e.Layer.Compressed()
		if err == nil {
			blob, err = io.ReadAll(r)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	manifest, err := stepcache.Artifact(e).RawManifest()
	if err != nil {
		t.Fatal(err)
	}
	return manifest, blob
}

func opens(blob []byte) func(v1.Descriptor) (io.ReadCloser, error) {
	return func(v1.Descriptor) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(blob)), nil }
}

func entry() stepcache.Entry {
	return stepcache.Entry{History: "RUN make", Content: "step-1", Parts: []stepcache.Part{{Name: "ARG A", Value: "1"}, {Name: "file x", Value: stepcache.Hidden("x")}},
		Layer: image.NewLayer(func(tw *tar.Writer) error { return tw.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "made/"}) })}
}

func TestRoundTrip(t *testing.T) {
	want := entry()
	manifest, blob := kept(t, want)
	got, err := stepcache.Read(manifest, opens(blob))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{want.History, want.Content, want.Parts}, []any{got.History, got.Content, got.Parts}); d != "" {
		t.Error(d)
	}
	if got.Parts[0].IsHidden() || !got.Parts[1].IsHidden() {
		t.Error(got.Parts)
	}
	for _, read := range []func() (io.ReadCloser, error){got.Layer.Compressed, got.Layer.Uncompressed} {
		r, err := read()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(io.Discard, r); err != nil {
			t.Error(err)
		}
	}
	manifest, _ = kept(t, stepcache.Entry{History: "WORKDIR /"})
	if got, err = stepcache.Read(manifest, nil); err != nil || got.Layer != nil || got.History != "WORKDIR /" {
		t.Errorf("without a layer: %v, %v", got, err)
	}
}

// TestLost is told of bytes that are missing, others, too few or too many.
func TestLost(t *testing.T) {
	manifest, blob := kept(t, entry())
	other := bytes.Clone(blob)
	other[len(other)-1] ^= 1
	for name, spoiled := range map[string][]byte{"none": {}, "short": blob[:len(blob)-1], "long": append(bytes.Clone(blob), 0), "other": other} {
		e, err := stepcache.Read(manifest, opens(spoiled))
		if err != nil {
			t.Fatal(err)
		}
		r, err := e.Layer.Compressed()
		if err == nil {
			_, err = io.Copy(io.Discard, r)
		}
		if !errors.Is(err, stepcache.ErrLost) {
			t.Errorf("%s: %v", name, err)
		}
	}
	e, err := stepcache.Read(manifest, func(v1.Descriptor) (io.ReadCloser, error) { return nil, io.ErrClosedPipe })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := e.Layer.Compressed(); !errors.Is(err, stepcache.ErrLost) || !errors.Is(err, io.ErrClosedPipe) {
		t.Error(err)
	}
}

// TestHostile refuses what no build keeps.
func TestHostile(t *testing.T) {
	manifest, _ := kept(t, entry())
	for name, spoil := range map[string]func(m *v1.Manifest){
		"two layers":        func(m *v1.Manifest) { m.Layers = append(m.Layers, m.Layers[0]) },
		"another config":    func(m *v1.Manifest) { m.Config.MediaType = "application/vnd.oci.image.config.v1+json" },
		"config elsewhere":  func(m *v1.Manifest) { m.Config.Data = nil },
		"config of another": func(m *v1.Manifest) { m.Config.Data = append(m.Config.Data, ' ') },
		"a foreign layer": func(m *v1.Manifest) {
			m.Layers[0].MediaType = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip"
		},
		"an empty layer": func(m *v1.Manifest) { m.Layers[0].Size = 0 },
		"a huge layer":   func(m *v1.Manifest) { m.Layers[0].Size = 1 << 50 },
		"another sum":    func(m *v1.Manifest) { m.Layers[0].Digest = v1.Hash{Algorithm: "sha512", Hex: strings.Repeat("0", 128)} },
		"a large config": func(m *v1.Manifest) {
			m.Config.Data = append(m.Config.Data, bytes.Repeat([]byte(" "), 2<<20)...)
			m.Config.Digest, _, _ = v1.SHA256(bytes.NewReader(m.Config.Data))
		},
		"no sum of the tar": func(m *v1.Manifest) {
			m.Config.Data = []byte("{}")
			m.Config.Digest, _, _ = v1.SHA256(bytes.NewReader(m.Config.Data))
		},
	} {
		var m v1.Manifest
		if err := json.Unmarshal(manifest, &m); err != nil {
			t.Fatal(err)
		}
		spoil(&m)
		spoiled, err := json.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		if e, err := stepcache.Read(spoiled, nil); err == nil {
			t.Errorf("%s: %v", name, e)
		}
	}
}

// FuzzRead never fails otherwise than with an error, and gives no layer without sums and size.
func FuzzRead(f *testing.F) {
	manifest, _ := kept(f, entry())
	f.Add(manifest)
	f.Add([]byte("{}"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		e, err := stepcache.Read(raw, opens(nil))
		if err != nil || e.Layer == nil {
			return
		}
		digest, _ := e.Layer.Digest()
		diffID, _ := e.Layer.DiffID()
		size, _ := e.Layer.Size()
		if len(digest.Hex) != 64 || len(diffID.Hex) != 64 || size <= 0 {
			t.Errorf("%s %s %d", digest, diffID, size)
		}
	})
}
