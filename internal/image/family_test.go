package image_test

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/image"
)

// TestZstdIsOCI wants an image on a base of Docker's media types to have OCI's, all of them, once a layer is zstd, and
// Docker's otherwise; alone and in an index, made and compressed anew.
func TestZstdIsOCI(t *testing.T) {
	for algorithm, want := range map[image.Algorithm]types.MediaType{image.Zstd: types.OCIManifestSchema1, image.Gzip: types.DockerManifestSchema2, image.None: types.DockerManifestSchema2} {
		o := image.Options{Compression: image.Compression{Algorithm: algorithm}}
		img := onDocker(t)
		must(t, o.Apply(img))
		alone, err := image.ForZstd(img)
		must(t, err)
		ofFamily(t, alone.(v1.Image), want)

		again, err := o.Recompress(settledOnDocker(t))
		must(t, err)
		ofFamily(t, again.(v1.Image), want)

		joined := image.JoinFor([]v1.Image{onDocker(t)}, []*v1.Platform{{OS: "linux", Architecture: "amd64"}})
		joined.Annotations = map[string]string{"a": "b"}
		must(t, o.Apply(joined))
		index, err := image.ForZstd(joined)
		must(t, err)
		ofFamily(t, image.Parts(index)[0], want)
		manifest, err := index.(v1.ImageIndex).IndexManifest()
		must(t, err)
		if d := manifest.Manifests[0]; d.MediaType != want || d.ArtifactType != "" || manifest.Annotations["a"] != "b" {
			t.Errorf("%+v, %v", d, manifest.Annotations)
		}
	}
}

// onDocker is an image of Docker's family with a layer that is there and one that is to be made.
func onDocker(t *testing.T) v1.Image {
	t.Helper()
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.DockerManifestSchema2), types.DockerConfigJSON)
	img, err := mutate.AppendLayers(base, static.NewLayer([]byte("there"), types.DockerLayer), image.ForDocker(image.NewLayer(func(tw *tar.Writer) error {
		return tw.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg})
	})))
	must(t, err)
	return img
}

// settledOnDocker is one with all layers there.
func settledOnDocker(t *testing.T) v1.Image {
	t.Helper()
	base := mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.DockerManifestSchema2), types.DockerConfigJSON)
	img, err := mutate.AppendLayers(base, image.ForDocker(image.NewLayer(func(tw *tar.Writer) error {
		return tw.WriteHeader(&tar.Header{Name: "f", Typeflag: tar.TypeReg})
	})))
	must(t, err)
	must(t, image.Settle(img))
	return img
}

// ofFamily wants all that an image says of media types to be of the family of its manifest.
func ofFamily(t *testing.T, img v1.Image, want types.MediaType) {
	t.Helper()
	must(t, image.Settle(img))
	raw, err := img.RawManifest()
	must(t, err)
	var m v1.Manifest
	must(t, json.Unmarshal(raw, &m))
	is, err := img.MediaType()
	must(t, err)
	if is != want || m.MediaType != want {
		t.Errorf("%s, %s: want %s", is, m.MediaType, want)
	}
	for _, d := range append(m.Layers, m.Config) {
		if oci := d.MediaType == types.OCIConfigJSON || d.MediaType == types.OCILayer || d.MediaType == types.OCILayerZStd; oci != (want == types.OCIManifestSchema1) {
			t.Errorf("%s in a %s", d.MediaType, want)
		}
	}
	digest, err := img.Digest()
	must(t, err)
	if sum, _, _ := v1.SHA256(bytes.NewReader(raw)); sum != digest {
		t.Errorf("digest %s of a manifest that has %s", digest, sum)
	}
}
