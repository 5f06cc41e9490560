package main

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"
)

// inspect REF FILE writes down what the registry has under REF, read with another client: each image's manifest,
// configuration and files, every layer held to its digest and diffID.
func inspect(ts *testscript.TestScript, neg bool, args []string) {
	ref, err := name.ParseReference(args[0], name.Insecure)
	ts.Check(err)
	login := authn.Anonymous
	if ts.Getenv("HARBOR_PASSWORD") != "" {
		login = &authn.Basic{Username: ts.Getenv("HARBOR_USERNAME"), Password: ts.Getenv("HARBOR_PASSWORD")}
	}
	desc, err := remote.Get(ref, remote.WithAuth(login))
	ts.Check(err)
	var out strings.Builder
	fmt.Fprintf(&out, "%s\n", desc.MediaType)
	if !desc.MediaType.IsIndex() {
		img, err := desc.Image()
		ts.Check(err)
		ts.Check(describe(&out, img))
	} else {
		index, err := desc.ImageIndex()
		ts.Check(err)
		manifest, err := index.IndexManifest()
		ts.Check(err)
		for _, m := range manifest.Manifests {
			fmt.Fprintf(&out, "platform %s\n", m.Platform)
			img, err := index.Image(m.Digest)
			ts.Check(err)
			ts.Check(describe(&out, img))
		}
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), []byte(out.String()), 0o644))
}

func describe(out io.Writer, img v1.Image) error {
	manifest, err := img.Manifest()
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "annotations %v\n", manifest.Annotations)
	config, err := img.ConfigFile()
	if err != nil {
		return err
	}
	c := config.Config
	fmt.Fprintf(out, "config %s/%s entrypoint %q cmd %q env %q user %q workdir %q labels %v created %s\n",
		config.OS, config.Architecture, c.Entrypoint, c.Cmd, c.Env, c.User, c.WorkingDir, c.Labels, config.Created.UTC())
	layers, err := img.Layers()
	if err != nil {
		return err
	}
	for i, l := range layers {
		if err := describeLayer(out, l, config.RootFS.DiffIDs[i]); err != nil {
			return err
		}
	}
	return nil
}

func describeLayer(out io.Writer, l v1.Layer, want v1.Hash) error {
	d, err := partial.Descriptor(l)
	if err != nil {
		return err
	}
	fmt.Fprintf(out, "layer %s\n", d.MediaType)
	r, err := l.Compressed()
	if err != nil {
		return err
	}
	defer r.Close()
	plain := io.Reader(r)
	switch {
	case strings.HasSuffix(string(d.MediaType), "zstd"):
		if plain, err = zstd.NewReader(r); err != nil {
			return err
		}
	case strings.HasSuffix(string(d.MediaType), "gzip"):
		if plain, err = gzip.NewReader(r); err != nil {
			return err
		}
	}
	data, err := io.ReadAll(plain)
	if err != nil {
		return err
	}
	if got, _, err := v1.SHA256(strings.NewReader(string(data))); err != nil || got != want {
		return fmt.Errorf("layer %s: its diffID is %s, the configuration says %s", d.Digest, got, want)
	}
	for tr := tar.NewReader(strings.NewReader(string(data))); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%c %04o %d:%d %d %s %s%s\n", h.Typeflag, h.Mode, h.Uid, h.Gid, h.Size, h.ModTime.UTC().Format("2006-01-02"), h.Name,
			map[bool]string{true: " -> " + h.Linkname}[h.Linkname != ""])
	}
}

// attach REF [SIGNER] hangs a signature on an image as cosign tags it, and something else that refers to it.
func attach(ts *testscript.TestScript, neg bool, args []string) {
	ref, err := name.ParseReference(args[0], name.Insecure)
	ts.Check(err)
	desc, err := remote.Get(ref)
	ts.Check(err)
	signature := mutate.Annotations(mutate.MediaType(empty.Image, types.OCIManifestSchema1), map[string]string{"signed": strings.Join(args[1:], "")}).(v1.Image)
	ts.Check(remote.Write(ref.Context().Tag("sha256-"+desc.Digest.Hex+".sig"), signature))
	referrer := mutate.Subject(signature, desc.Descriptor).(v1.Image)
	digest, err := referrer.Digest()
	ts.Check(err)
	ts.Check(remote.Write(ref.Context().Digest(digest.String()), referrer))
}

// pull REF DIR makes an OCI layout of an index.
func pull(ts *testscript.TestScript, neg bool, args []string) {
	ref, err := name.ParseReference(args[0], name.Insecure)
	ts.Check(err)
	index, err := remote.Index(ref)
	ts.Check(err)
	path, err := layout.Write(ts.MkAbs(args[1]), empty.Index)
	ts.Check(err)
	ts.Check(path.AppendIndex(index))
}
