package repo

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/go-git/go-git/v5/plumbing"

	"github.com/ksera524/imgbump/internal/gittest"
)

func nothing(plumbing.Hash) (plumbing.EncodedObject, error) {
	return nil, plumbing.ErrObjectNotFound
}

// Whatever packs git makes, each object reads as git reads it, and no file stays.
func TestSpool(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	server, err := gittest.Start(gittest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	r, err := server.Create("a.git")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.NewChaCha8([32]byte{})
	large := make([]byte, 3<<20)
	random.Read(large)
	for i := range 3 {
		files := fstest.MapFS{"large": {Data: append(large, byte(i))}, "empty": {}}
		for j := range 200 {
			files[fmt.Sprintf("apps/%d.yaml", j)] = &fstest.MapFile{Data: fmt.Appendf(nil, strings.Repeat("the same everywhere\n", 50)+"image: app%d:%d\n", j, i)}
		}
		if _, err := r.Commit("main", "more", files); err != nil {
			t.Fatal(err)
		}
	}
	for _, options := range []string{"--delta-base-offset", "--no-reuse-delta", "--depth=1", "--thin --delta-base-offset"} {
		t.Run(options, func(t *testing.T) {
			s := &spool{}
			defer s.close()
			thin := strings.Contains(options, "--thin")
			base := nothing
			if thin { // what is in an earlier pack is at hand, what is on the disk is asked for
				if err := s.unpack(t.Context(), packOf(t, r.Dir, "main~2", "--depth=0"), nothing); err != nil {
					t.Fatal(err)
				}
				base = func(hash plumbing.Hash) (plumbing.EncodedObject, error) {
					found := &plumbing.MemoryObject{}
					found.SetType(plumbing.BlobObject)
					found.Write(contentOf(t, r.Dir, hash))
					return found, nil
				}
			}
			pack := packOf(t, r.Dir, map[bool]string{false: "main", true: "main\n^main~1"}[thin], strings.Fields(options)...)
			if err := s.unpack(t.Context(), pack, base); err != nil {
				t.Fatal(err)
			}
			listed, err := gittest.Git(r.Dir, "rev-list", "--objects", "--no-object-names", map[bool]string{false: "main", true: "main~1..main"}[thin])
			if err != nil {
				t.Fatal(err)
			}
			for _, name := range strings.Fields(listed) {
				hash := plumbing.NewHash(name)
				found, ok := s.at[hash]
				if !ok {
					t.Fatalf("%s is missing", name)
				}
				got, err := s.read(found.kind, hash, make([]byte, 0, 10))
				if err != nil || plumbing.ComputeHash(found.kind, got) != hash {
					t.Fatalf("%s: %v", name, err)
				}
			}
			if !thin && s.file == nil {
				t.Error("all of it is in memory")
			}
		})
	}
	if left, _ := filepath.Glob(filepath.Join(os.Getenv("TMPDIR"), "imgbump-*")); left != nil {
		t.Errorf("left %v", left)
	}
}

func packOf(t *testing.T, dir, revisions string, options ...string) *bytes.Reader {
	t.Helper()
	cmd := exec.Command("git", append([]string{"pack-objects", "--revs", "--stdout", "-q"}, options...)...)
	cmd.Dir, cmd.Env, cmd.Stdin = dir, gittest.Env(), strings.NewReader(revisions+"\n")
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	return bytes.NewReader(out)
}

func contentOf(t *testing.T, dir string, hash plumbing.Hash) []byte {
	t.Helper()
	out, err := gittest.Git(dir, "cat-file", "blob", hash.String())
	if err != nil {
		t.Fatal(err)
	}
	return []byte(out)
}

// pack is one that somebody wrote by hand (gitformat-pack).
type pack struct {
	bytes.Buffer
	deflate *zlib.Writer
}

func newPack(objects uint32) *pack {
	p := &pack{deflate: zlib.NewWriter(nil)}
	p.WriteString("PACK\x00\x00\x00\x02")
	binary.Write(p, binary.BigEndian, objects)
	return p
}

// add appends an object that claims to have a size, and returns its place.
func (p *pack) add(kind plumbing.ObjectType, size uint64, base, content []byte) int {
	place := p.Len()
	first := byte(kind)<<4 | byte(size&15)
	for size >>= 4; size > 0; size >>= 7 {
		p.WriteByte(first | 0x80)
		first = byte(size & 0x7f)
	}
	p.WriteByte(first)
	p.Write(base)
	p.deflate.Reset(p)
	p.deflate.Write(content)
	p.deflate.Close()
	return place
}

func (p *pack) end() *pack {
	sum := sha1.Sum(p.Bytes())
	p.Write(sum[:])
	return p
}

// A pack that is not what it claims is an error, and takes neither memory nor stack.
func TestSpoolHostile(t *testing.T) {
	defer func(was int64) { maxInflated = was }(maxInflated)
	maxInflated = 64 << 20
	zeros := make([]byte, 1<<20)
	for _, tt := range []struct {
		name string
		pack func() *pack
		want error
	}{
		{"more objects than anybody has", func() *pack { return newPack(1 << 31).end() }, errTooMuch},
		{"fewer objects than it says", func() *pack { return newPack(2).end() }, nil},
		{"a size beyond all limits", func() *pack {
			p := newPack(1)
			p.add(plumbing.BlobObject, 1<<40, nil, zeros)
			return p.end()
		}, errTooMuch},
		{"larger than it says", func() *pack {
			p := newPack(1)
			p.add(plumbing.BlobObject, 10, nil, zeros)
			return p.end()
		}, nil},
		{"smaller than it says", func() *pack {
			p := newPack(1)
			p.add(plumbing.BlobObject, 2<<20, nil, zeros)
			return p.end()
		}, nil},
		{"many that grow from one", func() *pack {
			p := newPack(2000)
			p.add(plumbing.BlobObject, 1<<20, nil, zeros)
			base := plumbing.ComputeHash(plumbing.BlobObject, zeros)
			grow := binary.AppendUvarint(nil, 1<<20)
			grow = binary.AppendUvarint(grow, 4<<20)
			for range 4 {
				grow = append(grow, 0x80|0x40, 16) // copy 1 MiB from 0
			}
			for range 1999 {
				p.add(plumbing.REFDeltaObject, uint64(len(grow)), base[:], grow)
			}
			return p.end()
		}, errTooMuch},
		{"a delta of a delta that is cut off", func() *pack {
			p := newPack(2)
			p.add(plumbing.BlobObject, 4, nil, []byte("base"))
			base := plumbing.ComputeHash(plumbing.BlobObject, []byte("base"))
			p.add(plumbing.REFDeltaObject, 1, base[:], []byte{0x84})
			return p.end()
		}, nil},
		{"an unknown kind", func() *pack {
			p := newPack(1)
			p.add(5, 0, nil, nil)
			return p.end()
		}, nil},
		{"a wrong checksum", func() *pack {
			p := newPack(0)
			p.Write(make([]byte, 20))
			return p
		}, nil},
		{"cut off", func() *pack {
			p := newPack(1)
			p.add(plumbing.BlobObject, 1<<20, nil, zeros)
			p.Truncate(p.Len() / 2)
			return p
		}, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			s := &spool{}
			defer s.close()
			err := s.unpack(t.Context(), tt.pack(), nothing)
			if err == nil || tt.want != nil && !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
		})
	}
}

// The bases of a chain may come after all that is built upon them.
func TestSpoolBackwards(t *testing.T) {
	const length = 10_000
	contents := [][]byte{[]byte("base")}
	for len(contents) < length {
		last := contents[len(contents)-1]
		contents = append(contents, append(bytes.Clone(last[:min(len(last), 20)]), fmt.Sprint(len(contents))...))
	}
	p := newPack(length)
	for i := length - 1; i > 0; i-- {
		base := contents[i-1]
		hash := plumbing.ComputeHash(plumbing.BlobObject, base)
		delta := binary.AppendUvarint(nil, uint64(len(base)))
		delta = binary.AppendUvarint(delta, uint64(len(contents[i])))
		delta = append(append(delta, byte(len(contents[i]))), contents[i]...)
		p.add(plumbing.REFDeltaObject, uint64(len(delta)), hash[:], delta)
	}
	p.add(plumbing.BlobObject, 4, nil, contents[0])
	s := &spool{}
	defer s.close()
	if err := s.unpack(t.Context(), p.end(), nothing); err != nil {
		t.Fatal(err)
	}
	for _, content := range contents {
		got, err := s.read(plumbing.BlobObject, plumbing.ComputeHash(plumbing.BlobObject, content), nil)
		if err != nil || !bytes.Equal(got, content) {
			t.Fatalf("%q: %q, %v", content, got, err)
		}
	}
}

// What is too large to be a manifest is known, and not kept; what is built upon it is as good as not sent.
func TestSpoolLarge(t *testing.T) {
	defer func(was int64) { maxObject = was }(maxObject)
	maxObject = 64 << 10
	large := make([]byte, maxObject+1)
	hash := plumbing.ComputeHash(plumbing.BlobObject, large)
	p := newPack(2)
	p.add(plumbing.BlobObject, uint64(len(large)), nil, large)
	more := append(binary.AppendUvarint(nil, uint64(len(large))), 4, 4, 'm', 'o', 'r', 'e')
	p.add(plumbing.REFDeltaObject, uint64(len(more)), hash[:], more)
	s := &spool{}
	defer s.close()
	if err := s.unpack(t.Context(), p.end(), nothing); err != nil {
		t.Fatal(err)
	}
	if len(s.at) != 1 || s.at[hash].size != int64(len(large)) || s.end() > 100 {
		t.Errorf("%v, %d bytes", s.at, s.end())
	}
}
