package dockerfile_test

import (
	"archive/tar"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/image"
)

// describe says what an image is, as a case records it: in its tree what its base's does not have, and its config. What
// is of the time that the build ran, or later, is said to be of now.
func (c *oracleCase) describe(t *testing.T, img v1.Image, now time.Time) string {
	t.Helper()
	must(t, image.Settle(img))
	raw, err := img.RawConfigFile()
	must(t, err)
	config, err := img.ConfigFile()
	must(t, err)
	layers, err := img.Layers()
	must(t, err)
	of := c.bases.below(t, config.RootFS.DiffIDs)
	below, all := flatTree{}, flatTree{}
	var written []bool
	var entries strings.Builder
	for i, l := range layers {
		r, err := l.Uncompressed()
		must(t, err)
		names, faults := all.apply(t, r)
		if i >= of && len(faults) > 0 {
			t.Errorf("layer %d: %s", i, strings.Join(faults, ", "))
		}
		if i >= of && c.entries && len(names) > 0 {
			fmt.Fprintf(&entries, "layer\n%s", strings.Join(slices.Sorted(slices.Values(names)), ""))
		}
		written = append(written, len(names) > 0)
		must(t, r.Close())
		if i+1 == of {
			below = maps.Clone(all)
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "platform %s\n", config.Platform())
	out.WriteString(all.changes(below, c.clock(now)))
	out.WriteString(entries.String())
	for _, h := range config.History {
		what := " (no layer)"
		if !h.EmptyLayer {
			what = map[bool]string{false: " (empty layer)", true: ""}[written[0]]
			written = written[1:]
		}
		fmt.Fprintf(&out, "history %s%s\n", h.CreatedBy, what)
	}
	if len(written) > 0 {
		t.Errorf("history does not tell of %d layers", len(written))
	}
	if !c.epoch().IsZero() {
		fmt.Fprintf(&out, "created%s\n", c.clock(now)(config.Created.Time))
	}
	out.WriteString(essence(t, raw))
	return c.settled(out.String())
}

// clock says when something was, relative to the case.
func (c *oracleCase) clock(now time.Time) func(time.Time) string {
	return func(at time.Time) string {
		switch {
		case at.Equal(written):
			return ""
		case at.Equal(c.epoch()):
			return " epoch"
		case !at.Before(now):
			return " now"
		}
		return " " + at.UTC().Format(time.RFC3339Nano)
	}
}

// below is how many layers of an image are those of the base that it starts from.
func (all oracleImages) below(t *testing.T, ids []v1.Hash) int {
	t.Helper()
	most := 0
	for _, base := range all {
		for _, img := range base.images {
			config, err := img.ConfigFile()
			must(t, err)
			if of := config.RootFS.DiffIDs; len(of) <= len(ids) && slices.Equal(of, ids[:len(of)]) {
				most = max(most, len(of))
			}
		}
	}
	return most
}

// essence is the part of a config that says how to run the image, with its keys sorted and without what is empty.
func essence(t *testing.T, raw []byte) string {
	t.Helper()
	var all struct {
		Author string
		Config map[string]any
	}
	must(t, json.Unmarshal(raw, &all))
	maps.DeleteFunc(all.Config, func(_ string, v any) bool {
		switch v := v.(type) {
		case nil:
			return true
		case []any:
			return len(v) == 0
		case map[string]any:
			return len(v) == 0
		}
		return v == "" || v == false
	})
	text, err := json.MarshalIndent(all.Config, "", "  ")
	must(t, err)
	return fmt.Sprintf("author %s\n%s\n", cmp.Or(all.Author, "-"), text)
}

// flatEntry is a name in a root filesystem: its layer's header, its content, and what tells names of one file.
type flatEntry struct {
	*tar.Header
	content []byte
	file    *int
}

// flatTree is what the layers of an image amount to, by absolute path.
type flatTree map[string]flatEntry

// apply puts a layer on the tree as the OCI image specification's layer.md says. It tells which entries the layer has,
// and what not every runtime can unpack: a name twice, a parent that is no directory, a whiteout of nothing.
func (all flatTree) apply(t *testing.T, r io.Reader) (entries, faults []string) {
	t.Helper()
	mine := flatTree{}
	tr := tar.NewReader(r)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return entries, faults
		}
		must(t, err)
		content, err := io.ReadAll(tr)
		must(t, err)
		entries = append(entries, fmt.Sprintf("- %s %03o %d:%d\n", hdr.Name, hdr.Mode, hdr.Uid, hdr.Gid))
		name := path.Join("/", hdr.Name)
		dir, base := path.Split(name)
		if _, twice := mine[name]; twice {
			faults = append(faults, name+" is there twice")
		}
		if parent, ok := all[path.Clean(dir)]; ok && parent.Typeflag != tar.TypeDir {
			faults = append(faults, name+" is below a file or link")
		}
		hidden, isWhiteout := strings.CutPrefix(base, ".wh.")
		old, known := all[name]
		switch {
		case isWhiteout && hidden == ".wh..opq":
			all.remove(func(other string) bool { _, own := mine[other]; return !own && strings.HasPrefix(other, dir) })
			continue
		case isWhiteout:
			if all.remove(within(path.Join(dir, hidden))) == 0 {
				faults = append(faults, name+" removes nothing")
			}
			continue
		case known && old.Typeflag == tar.TypeDir && hdr.Typeflag != tar.TypeDir:
			all.remove(within(name))
		}
		entry := flatEntry{hdr, content, new(int)}
		if hdr.Typeflag == tar.TypeLink {
			if entry = all[path.Join("/", hdr.Linkname)]; entry.Header == nil {
				faults = append(faults, name+" links to nothing")
				continue
			}
		}
		all[name], mine[name] = entry, entry
	}
}

// within matches a name and what is below it.
func within(dir string) func(string) bool {
	return func(name string) bool { return name == dir || strings.HasPrefix(name, dir+"/") }
}

func (all flatTree) remove(gone func(string) bool) int {
	before := len(all)
	maps.DeleteFunc(all, func(name string, _ flatEntry) bool { return gone(name) })
	return before - len(all)
}

// changes lists what is not the same below, a line each, sorted; then what only that has, and the names of one file.
func (all flatTree) changes(below flatTree, at func(time.Time) string) string {
	var out strings.Builder
	groups := map[*int][]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e := all[name]
		groups[e.file] = append(groups[e.file], name)
		if old, ok := below[name]; !ok || old.line(name, at) != e.line(name, at) {
			out.WriteString(e.line(name, at) + "\n")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(below)) {
		if _, ok := all[name]; !ok {
			fmt.Fprintf(&out, "gone %s\n", name)
		}
	}
	names := slices.SortedFunc(maps.Values(groups), func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
	for _, same := range names {
		if len(same) > 1 && !below.linked(same) {
			fmt.Fprintf(&out, "same %s\n", strings.Join(same, " "))
		}
	}
	return out.String()
}

// linked reports whether names are those of one file.
func (all flatTree) linked(names []string) bool {
	return !slices.ContainsFunc(names, func(name string) bool { return all[name].file == nil || all[name].file != all[names[0]].file })
}

// line is an entry as a case records it. When directories were changed is not compared: it tells when something
// was put into them.
func (e flatEntry) line(name string, at func(time.Time) string) string {
	kind := map[byte]string{tar.TypeReg: "file", tar.TypeDir: "dir", tar.TypeSymlink: "symlink", tar.TypeFifo: "fifo",
		tar.TypeChar: "char", tar.TypeBlock: "block"}[e.Typeflag]
	line := fmt.Sprintf("%s %03o %d:%d %s", kind, e.Mode, e.Uid, e.Gid, name)
	switch e.Typeflag {
	case tar.TypeReg:
		if text := strconv.Quote(string(e.content[:min(len(e.content), 80)])); len(text) <= 80 {
			line += " " + text
		} else {
			line += fmt.Sprintf(" %d bytes sha256:%x", len(e.content), sha256.Sum256(e.content))
		}
	case tar.TypeSymlink:
		line += " -> " + e.Linkname
	case tar.TypeChar, tar.TypeBlock:
		line += fmt.Sprintf(" %d:%d", e.Devmajor, e.Devminor)
	}
	for _, key := range slices.Sorted(maps.Keys(e.PAXRecords)) {
		if attribute, ok := strings.CutPrefix(key, "SCHILY.xattr."); ok {
			line += fmt.Sprintf(" %s=%x", attribute, e.PAXRecords[key])
		}
	}
	if e.Typeflag != tar.TypeDir {
		line += at(e.ModTime)
	}
	return line
}
