package ship

import (
	"archive/tar"
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
)

// Output is a form that an image is kept in, and where.
type Output struct {
	kind kind
	path string // stdout is standard output
}

const stdout = "-"

// kind is what buildx calls a type of output.
type kind string

const (
	layout        kind = "oci"     // a folder
	layoutArchive kind = "oci tar" // buildx' oci, unless it has tar=false
	dockerArchive kind = "docker"
	folder        kind = "local" // the files of the image
	archive       kind = "tar"   // likewise
	registry      kind = "registry"
)

// Streams reports whether the output goes to standard output.
func (o Output) Streams() bool { return o.path == stdout }

// Pushes reports whether the output is the registry that the image's names tell.
func (o Output) Pushes() bool { return o.kind == registry }

// ParseOutput reads KIND:PATH, as oci:DIR, docker:FILE, local:DIR or tar:FILE; or what docker buildx reads: type=KIND,dest=PATH,
// a folder alone for its files, and - for a tar of them. A PATH - is standard output.
func ParseOutput(s string) (Output, error) {
	const hint = "for example: -o oci:DIR, -o docker:FILE, -o local:DIR, -o tar:FILE or -o type=oci,dest=FILE"
	word, path, short := strings.Cut(s, ":")
	o := Output{kind(word), path}
	switch {
	case strings.Contains(word, "="):
		var err error
		if o, err = parseFields(s); err != nil {
			return o, err
		}
	case s == stdout:
		o = Output{archive, stdout}
	case !short && !slices.Contains([]kind{layout, dockerArchive, folder, archive, registry}, o.kind):
		o = Output{folder, s}
	}
	if o.kind == layout && o.path == stdout {
		o.kind = layoutArchive
	}
	switch {
	case !slices.Contains([]kind{layout, layoutArchive, dockerArchive, folder, archive, registry}, o.kind):
		return o, fault.Usagef(hint, "--output %s: %q is no kind of output", s, o.kind)
	case o.kind == registry && o.path != "":
		return o, fault.Usagef("name the image with -t", "--output %s: a registry has no path", s)
	case o.kind == folder && o.path == stdout:
		return o, fault.Usagef("-o - writes a tar", "--output %s: a folder does not go to standard output", s)
	case o.kind != registry && o.path == "":
		return o, fault.Usagef(hint, "--output %s names no destination", s)
	}
	return o, nil
}

// parseFields reads KEY=VALUE with commas between them.
func parseFields(s string) (Output, error) {
	fields := map[string]string{}
	for field := range strings.SplitSeq(s, ",") {
		key, value, _ := strings.Cut(field, "=")
		fields[key] = value
	}
	o := Output{kind(fields["type"]), fields["dest"]}
	if o.kind == layout && fields["tar"] != "false" {
		o.kind = layoutArchive
	}
	if o.kind == "image" && fields["push"] == "true" {
		o.kind = registry
	}
	known := map[kind][]string{layout: {"tar"}, layoutArchive: {"tar"}, registry: {"push"}}[o.kind]
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if key != "type" && key != "dest" && !slices.Contains(known, key) {
			return o, fault.Usagef("the flags --compression, --annotation, -t and --push say more", "--output %s: %s is not supported yet", s, key)
		}
	}
	return o, nil
}

// outputs refuses what could not be written.
func (b Build) outputs() error {
	streams := 0
	for _, o := range b.Outputs {
		if o.kind == dockerArchive && len(b.Platforms) > 1 {
			return fault.Usagef("write -o type=oci,dest=FILE, or build one --platform", "a docker archive holds an image for one platform, not for %d", len(b.Platforms))
		}
		if o.Streams() {
			streams++
		}
	}
	if streams > 1 {
		return fault.Usagef("name files for the others", "%d outputs go to standard output", streams)
	}
	return nil
}

// write writes the outputs, that to standard output last: the others may still fail before somebody reads it.
func (b Build) write(ctx context.Context, made built) error {
	ordered := slices.Clone(b.Outputs)
	slices.SortStableFunc(ordered, func(x, y Output) int {
		switch {
		case x.Streams() == y.Streams():
			return 0
		case x.Streams():
			return 1
		}
		return -1
	})
	for _, o := range ordered {
		if err := b.writeOne(ctx, made, o); err != nil {
			return err
		}
	}
	return nil
}

func (b Build) writeOne(ctx context.Context, made built, o Output) error {
	names := []string{}
	for _, ref := range b.References {
		names = append(names, ref.String())
	}
	var what string
	var write func(io.Writer) error
	switch o.kind {
	case registry:
		return nil
	case layout:
		return image.WriteLayout(o.path, made.artifact, names)
	case folder:
		return image.WriteFolder(o.path, func(tw *tar.Writer) error { return made.writeFiles(ctx, tw) })
	case layoutArchive:
		what, write = "OCI layout", func(w io.Writer) error { return image.LayoutArchive(w, made.artifact, names) }
	case dockerArchive:
		what, write = "docker archive", func(w io.Writer) error { return image.Archive(w, image.Parts(made.artifact)[0], names) }
	case archive:
		what, write = "tar", func(w io.Writer) error {
			tw := tar.NewWriter(w)
			if err := made.writeFiles(ctx, tw); err != nil {
				return err
			}
			return tw.Close()
		}
	}
	if !o.Streams() {
		return image.WriteFile(what, o.path, write)
	}
	if err := write(b.Stdout); err != nil {
		return &fault.Error{What: "write " + what, Where: "standard output", Err: err}
	}
	return nil
}

// writeFiles puts the files of the images into a tar: of several platforms each below a folder of its own, as buildx does.
func (m built) writeFiles(ctx context.Context, tw *tar.Writer) error {
	for _, img := range m.images {
		below := ""
		if len(m.images) > 1 {
			below = strings.ReplaceAll(img.Platform.String(), "/", "_")
		}
		if err := img.WriteFiles(ctx, tw, below); err != nil {
			return fmt.Errorf("%s: %w", img.Platform, err)
		}
	}
	return nil
}
