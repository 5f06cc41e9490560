package dockerfile

import (
	"archive/tar"
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/moby/buildkit/frontend/dockerfile/instructions"
	"github.com/moby/patternmatcher"

	"github.com/ksera524/imgbump/internal/stepcache"
)

// depends collects what a step depends on.
type depends []stepcache.Part

func (d *depends) on(name, value string) {
	*d = append(*d, stepcache.Part{Name: name, Value: value})
}

// flag adds what was set, if it was.
func (d *depends) flag(name, value string) {
	if value != "" {
		d.on(name, value)
	}
}

// set is a flag's value.
func set(is bool) string {
	if is {
		return "set"
	}
	return ""
}

// quoted are a flag's values.
func quoted(values []string) string {
	if len(values) == 0 {
		return ""
	}
	return fmt.Sprintf("%q", values)
}

// parts is what an instruction depends on beside the step above it, and what it does to a configuration. k is nil for one
// that adds no layer. The chains are those of the stages before.
func (b *builder) parts(ctx context.Context, r *rootfs, c command, k *keyed, chains map[int]*chain) (depends, error) {
	if err := b.expand(r, c.Command, func(map[string]struct{}) {}); err != nil {
		return nil, err
	}
	if k == nil {
		_, err := b.configure(r, c.Command)
		return nil, err
	}
	var d depends
	if !b.latest.IsZero() {
		d.on(sourceDateEpoch, strconv.FormatInt(b.latest.Unix(), 10))
	}
	k.dir = r.config.Config.WorkingDir
	var err error
	switch i := c.Command.(type) {
	case *instructions.WorkdirCommand:
		r.config.Config.WorkingDir = workdir(r, i)
		d.on("instruction", "WORKDIR "+r.config.Config.WorkingDir)
		d.flag("USER", r.config.Config.User)
	case *instructions.CopyCommand:
		err = b.dependCopy(ctx, &d, newCopy(i, c), k, chains)
	case *instructions.AddCommand:
		err = b.dependCopy(ctx, &d, newAdd(i, c), k, chains)
	case *instructions.RunCommand:
		err = b.dependRun(ctx, &d, r, c, i, k, chains)
	}
	return d, err
}

// dependOn adds what is read of an image or a stage; done is false for folders, whose files count.
func (b *builder) dependOn(ctx context.Context, d *depends, from origin, k *keyed, chains map[int]*chain) (done bool, err error) {
	switch {
	case from.stage != nil && from.stage.base.folder != "":
		return false, nil
	case from.stage != nil:
		ch := chains[slices.Index(b.stages, from.stage)]
		if ch.end == nil {
			return false, fmt.Errorf("the stage %s has no name", from.stage.label())
		}
		k.stale = k.stale || ch.stale
		d.on(partStage+from.stage.label(), nameOf("stage", ch.end))
		return true, nil
	case from.image != "":
		r, err := b.bases.rootfs(ctx, from.image, b.platform)
		if err != nil || r.base == nil {
			return true, err
		}
		digest, err := r.base.Digest()
		d.on("image "+from.image, digest.String())
		return true, err
	}
	return false, nil
}

// partStage begins the names of parts that are stages.
const partStage = "stage "

// dependCopy adds what a COPY or an ADD depends on.
func (b *builder) dependCopy(ctx context.Context, d *depends, c copied, k *keyed, chains map[int]*chain) error {
	k.copy = &c
	b.dependInstruction(d, k)
	done, err := b.dependOn(ctx, d, c.from, k, chains)
	if err != nil || done {
		return err
	}
	src, err := b.origin(ctx, c.from)
	if err != nil {
		return err
	}
	return b.dependFiles(ctx, d, src, k)
}

// dependInstruction adds what a COPY or an ADD says.
func (b *builder) dependInstruction(d *depends, k *keyed) {
	c := *k.copy
	text := strings.TrimSuffix(c.history(), " # buildkit")
	if words := append(slices.Clone(c.SourcePaths), c.DestPath); slices.ContainsFunc(words, ambiguous) {
		text += fmt.Sprintf(" %q", words)
	}
	d.on("instruction", text)
	if !path.IsAbs(c.DestPath) {
		d.on("WORKDIR", k.dir)
	}
	d.flag("--link", set(c.linked()))
	d.flag("--exclude", quoted(c.exclude))
	d.flag("--checksum", c.checksum)
	d.flag("--unpack", set(c.unpackFetched))
	d.flag("--unpack=false", set(c.name == "ADD" && !c.unpack))
	d.flag("--keep-git-dir", set(c.keepGitDir != nil && *c.keepGitDir))
}

// ambiguous reports whether a word of an instruction may be taken for several, or for a flag.
func ambiguous(word string) bool { return strings.Contains(word, " ") || strings.HasPrefix(word, "--") }

// dependFiles adds the files that a copy reads from src, by making the copy into nothing: whatever of them is not seen there
// has no effect elsewhere. What is fetched and bears a checksum is not.
func (b *builder) dependFiles(ctx context.Context, d *depends, src source, k *keyed) error {
	c := *k.copy
	c.SourcePaths = nil
	for _, name := range k.copy.SourcePaths {
		f, err := k.copy.fetched(name)
		switch {
		case err != nil:
			return err
		case f != nil && f.checksum != "" || f != nil && f.repository != nil && wholeCommit(*f.repository):
			d.on("fetched", name) // the checksum is a part already
		default:
			c.SourcePaths = append(c.SourcePaths, name)
		}
	}
	dest := destination(k.dir, c.DestPath)
	return b.dependPlan(ctx, d, k, dest, func(p *plan) (err error) {
		if p.mode, err = parseChmod(c.chmod); err != nil {
			return err
		}
		if len(c.exclude) > 0 {
			if p.exclude, err = patternmatcher.New(c.exclude); err != nil {
				return err
			}
		}
		return b.gather(ctx, p, src, c, dest)
	})
}

// wholeCommit reports whether a repository is named by a commit that cannot be another one.
func wholeCommit(r Repository) bool {
	for _, name := range []string{r.Commit, r.Ref} {
		if _, err := hex.DecodeString(name); err == nil && (len(name) == 40 || len(name) == 64) {
			return true
		}
	}
	return false
}

// dependPlan adds what would be written into nothing, without times, by names below dest.
func (b *builder) dependPlan(ctx context.Context, d *depends, k *keyed, dest string, fill func(*plan) error) error {
	make := func() (*plan, error) {
		p := b.newPlan(newTree())
		return p, fill(p)
	}
	p, err := make()
	if err != nil {
		return err
	}
	k.watch(p, make)
	sums, err := b.sums(ctx, p)
	if err != nil {
		return err
	}
	named := map[string]string{}
	for name, sum := range sums {
		short, below := strings.CutPrefix("/"+name, strings.TrimSuffix(dest, "/")+"/")
		if !below {
			short = "/" + name
		}
		named[short] = sum
	}
	folded := fold(named)
	for _, name := range slices.Sorted(maps.Keys(folded)) {
		d.on(name, folded[name])
	}
	return nil
}

// mostNames is how many files a step tells apart by their names.
const mostNames = 200

// fold puts files together by the directories they are in, until there are few enough of them.
func fold(sums map[string]string) map[string]string {
	for depth := 64; ; depth /= 2 {
		groups := map[string][]string{}
		for _, name := range slices.Sorted(maps.Keys(sums)) {
			top := name
			if parts := strings.SplitN(name, "/", depth+1); len(parts) > depth {
				top = strings.Join(parts[:depth], "/")
			}
			groups[top] = append(groups[top], name+" "+sums[name])
		}
		if len(groups) > mostNames && depth > 0 {
			continue
		}
		folded := map[string]string{}
		for top, names := range groups {
			sum := sha256.Sum256([]byte(strings.Join(names, "\n")))
			folded["file "+cmp.Or(top, "one of the files")] = hex.EncodeToString(sum[:])
		}
		return folded
	}
}

// sums are what a plan writes, by names, without times.
func (w *work) sums(ctx context.Context, p *plan) (map[string]string, error) {
	id, _ := p.identity()
	w.mu.Lock()
	known := w.known[id]
	w.mu.Unlock()
	if id != "" && known != nil {
		return known, nil
	}
	r := tarOf(func(tw *tar.Writer) error { return p.write(ctx, tw) })
	defer r.Close()
	sums := map[string]string{}
	tr := tar.NewReader(r)
	for {
		hdr, err := tr.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		sum := sha256.New()
		fmt.Fprintf(sum, "%c %q %o %d:%d %d:%d %q\n", hdr.Typeflag, hdr.Linkname, hdr.Mode, hdr.Uid, hdr.Gid, hdr.Devmajor, hdr.Devminor, hdr.PAXRecords[capability])
		if _, err := io.Copy(sum, tr); err != nil {
			return nil, err
		}
		sums[path.Clean(hdr.Name)] = hex.EncodeToString(sum.Sum(nil))
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.known[id] = sums
	return sums, nil
}
