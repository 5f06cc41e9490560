package dockerfile_test

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"os"
	"path"
	"slices"
	"strings"
	"testing"

	diff "github.com/google/go-cmp/cmp"
	"github.com/moby/patternmatcher"
	"github.com/moby/patternmatcher/ignorefile"

	"github.com/ksera524/imgbump/internal/dockerfile"
)

// ignorable are files whose names patterns may have trouble with.
var ignorable = []string{"a", "b.txt", ".hidden", "dir/a", "dir/b.txt", "dir/sub/a", "dir/sub/.hidden", "dir2/sub/deep/er/a", "[x]", "with space/a", "ab/c"}

// FuzzIgnore wants a copy of all of a context to hold the files that patternmatcher does not match, and the directories above
// them, whatever .dockerignore says: BuildKit asks it for each path, where this builder looks at as few as it can.
func FuzzIgnore(f *testing.F) {
	for _, s := range []string{"", "*", "**", "*\n!a", "dir\n!dir/sub", "dir/**\n!**/a", "**/a", "/a", "a/", "!a\na", "dir*/\n!dir2", "[x]", "\\[x\\]",
		"dir\n!dir/s*/a\ndir/sub", "# comment\n\n ab ", "*\n!dir/sub/a", "*/*\n!*/sub", "di?\n!dir/b.txt", ".*", "..", "./dir", "**/sub/**\n!dir2"} {
		f.Add(s)
	}
	dir := f.TempDir()
	root, err := os.OpenRoot(dir)
	must(f, err)
	for _, name := range ignorable {
		must(f, root.MkdirAll(path.Dir(name), 0o755))
		must(f, root.WriteFile(name, nil, 0o644))
	}
	f.Fuzz(func(t *testing.T, ignore string) {
		want, ok := visible(ignore)
		if !ok {
			return
		}
		file, err := dockerfile.Parse("Dockerfile", []byte("FROM scratch\nCOPY . /\n"), dockerfile.Options{})
		must(t, err)
		img, err := file.Build(t.Context(), dockerfile.Sources{Context: dockerfile.Folder(root), Ignore: []byte(ignore)}, nil)
		must(t, err)
		layers, err := img.Layers()
		must(t, err)
		var got []string
		for _, l := range layers {
			r, err := l.Uncompressed()
			must(t, err)
			for tr := tar.NewReader(r); ; {
				hdr, err := tr.Next()
				if errors.Is(err, io.EOF) {
					break
				}
				must(t, err)
				if hdr.Typeflag == tar.TypeReg {
					got = append(got, hdr.Name)
				}
			}
		}
		slices.Sort(got)
		if d := diff.Diff(want, got); d != "" {
			t.Errorf("%q: -patternmatcher +ours\n%s", ignore, d)
		}
	})
}

// visible are the files that an ignore file leaves, by patternmatcher; ok is false when it is broken.
func visible(ignore string) (names []string, ok bool) {
	patterns, err := ignorefile.ReadAll(bytes.NewReader([]byte(ignore)))
	if err != nil {
		return nil, false
	}
	matcher, err := patternmatcher.New(patterns)
	if err != nil {
		return nil, false
	}
	for _, name := range ignorable {
		ignored, info := false, patternmatcher.MatchInfo{}
		parts := strings.Split(name, "/")
		for i := range parts {
			if ignored, info, err = matcher.MatchesUsingParentResults(path.Join(parts[:i+1]...), info); err != nil {
				return nil, false
			}
		}
		if !ignored {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names, true
}
