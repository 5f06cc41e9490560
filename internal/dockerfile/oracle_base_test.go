package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/static"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"github.com/rogpeppe/go-internal/txtar"
)

// netRaw is the value of security.capability that cap_net_raw+ep has.
const netRaw = "0100000200200000000000000000000000000000"

// tarOf is a tar of entries, one a line: KIND MODE UID:GID NAME, and then the content as a Go string or what it links to.
// A file of kind cap has the capability netRaw.
func tarOf(t testing.TB, lines string) []byte {
	t.Helper()
	var out bytes.Buffer
	tw := tar.NewWriter(&out)
	for line := range strings.Lines(lines) {
		hdr, text := tarEntry(t, strings.SplitN(strings.TrimSpace(line), " ", 5))
		must(t, tw.WriteHeader(hdr))
		_, err := io.WriteString(tw, text)
		must(t, err)
	}
	must(t, tw.Close())
	return out.Bytes()
}

func tarEntry(t testing.TB, words []string) (hdr *tar.Header, text string) {
	t.Helper()
	if len(words) < 4 {
		t.Fatalf("%q is no entry", words)
	}
	hdr = &tar.Header{Name: words[3], ModTime: written.Add(-24 * time.Hour).Truncate(time.Second), Format: tar.FormatPAX}
	_, err := fmt.Sscanf(words[1]+" "+words[2], "%o %d:%d", &hdr.Mode, &hdr.Uid, &hdr.Gid)
	must(t, err)
	last := strings.Join(words[4:], "")
	switch words[0] {
	case "cap":
		value, err := hex.DecodeString(netRaw)
		must(t, err)
		hdr.PAXRecords = map[string]string{"SCHILY.xattr.security.capability": string(value), "SCHILY.xattr.user.note": "x"}
		fallthrough
	case "file":
		text, err = strconv.Unquote(last)
		must(t, err)
		hdr.Typeflag, hdr.Size = tar.TypeReg, int64(len(text))
	case "program": // of this machine, static
		program, err := os.ReadFile(last)
		must(t, err)
		hdr.Typeflag, hdr.Size, text = tar.TypeReg, int64(len(program)), string(program)
	case "dir":
		hdr.Typeflag = tar.TypeDir
	case "symlink":
		hdr.Typeflag, hdr.Linkname = tar.TypeSymlink, last
	case "link":
		hdr.Typeflag, hdr.Linkname = tar.TypeLink, last
	case "fifo":
		hdr.Typeflag = tar.TypeFifo
	case "char":
		hdr.Typeflag = tar.TypeChar
		_, err := fmt.Sscanf(last, "%d:%d", &hdr.Devmajor, &hdr.Devminor)
		must(t, err)
	default:
		t.Fatalf("%q is of an unknown kind", words)
	}
	return hdr, text
}

// busybox is where Debian's package busybox-static has it.
const busybox = "/bin/busybox"

// oracleImage is an image that cases start from or copy from.
type oracleImage struct {
	ref    string
	single bool // no index: whoever asks for another platform gets it all the same
	images map[string]v1.Image
}

// oracleImages are those of testdata/oracle/bases: the comment says the platforms, config.json the config, the
// sections called layer the layers.
type oracleImages []oracleImage

func oracleBases(t *testing.T) oracleImages {
	t.Helper()
	files, err := filepath.Glob("testdata/oracle/bases/*.txtar")
	must(t, err)
	var all oracleImages
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		must(t, err)
		if _, err := os.Stat(busybox); err != nil && filepath.Base(file) == "busybox.txtar" {
			continue
		}
		base := oracleImage{ref: "registry.test/" + strings.TrimSuffix(filepath.Base(file), ".txtar"), images: map[string]v1.Image{}}
		family := types.OCIManifestSchema1
		for line := range strings.Lines(string(archive.Comment)) {
			words := strings.Fields(line)
			switch {
			case len(words) == 0 || words[0] == "#":
			case words[0] == "docker":
				family = types.DockerManifestSchema2
			case words[0] == "platforms":
				base.single = len(words) == 2
				for _, p := range words[1:] {
					base.images[p] = oracleBase(t, archive, p, family)
				}
			}
		}
		all = append(all, base)
	}
	return all
}

func oracleBase(t *testing.T, archive *txtar.Archive, platform string, family types.MediaType) v1.Image {
	t.Helper()
	p, err := v1.ParsePlatform(platform)
	must(t, err)
	configType, layerType := types.OCIConfigJSON, types.OCILayer
	if family == types.DockerManifestSchema2 {
		configType, layerType = types.DockerConfigJSON, types.DockerLayer
	}
	config := &v1.ConfigFile{OS: p.OS, Architecture: p.Architecture, Variant: p.Variant, Author: "somebody",
		Created: v1.Time{Time: written}, RootFS: v1.RootFS{Type: "layers"}}
	var adds []mutate.Addendum
	for _, f := range archive.Files {
		if f.Name == "config.json" {
			must(t, json.Unmarshal(f.Data, &config.Config))
			continue
		}
		data := gzipped(t, tarOf(t, strings.ReplaceAll(string(f.Data), "$ARCH", p.Architecture)))
		adds = append(adds, mutate.Addendum{Layer: newTarLayer(data, layerType),
			History: v1.History{CreatedBy: f.Name, Created: v1.Time{Time: written}}})
	}
	img, err := mutate.ConfigFile(mutate.ConfigMediaType(mutate.MediaType(empty.Image, family), configType), config)
	must(t, err)
	img, err = mutate.Append(img, adds...)
	must(t, err)
	return img
}

// tarLayer is a gzipped tar.
type tarLayer struct {
	v1.Layer
	diffID func() (v1.Hash, error)
}

func newTarLayer(packed []byte, of types.MediaType) tarLayer {
	l := tarLayer{Layer: static.NewLayer(packed, of)}
	l.diffID = sync.OnceValues(l.sum)
	return l
}

func (l tarLayer) DiffID() (v1.Hash, error) { return l.diffID() }

func (l tarLayer) Uncompressed() (io.ReadCloser, error) {
	r, err := l.Layer.Compressed()
	if err != nil {
		return nil, err
	}
	return gzip.NewReader(r)
}

func (l tarLayer) sum() (v1.Hash, error) {
	r, err := l.Uncompressed()
	if err != nil {
		return v1.Hash{}, err
	}
	id, _, err := v1.SHA256(r)
	return id, err
}

// pull is dockerfile.Sources.Base.
func (all oracleImages) pull(_ context.Context, ref string, platform v1.Platform) (v1.Image, error) {
	for _, base := range all {
		if base.ref != strings.TrimSuffix(ref, ":latest") {
			continue
		}
		for of, img := range base.images {
			if of == platform.String() || base.single {
				return img, nil
			}
		}
		return nil, fmt.Errorf("%s is not for %s", ref, platform)
	}
	return nil, fmt.Errorf("no such image: %s", ref)
}
