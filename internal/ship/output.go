package ship

import (
	"archive/tar"
	"cmp"
	"context"
	"encoding/csv"
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
	Names []string // references that it adds to those of the build

	kind kind
	path string // standard is standard output
}

// standard stands for standard input or output where a path is wanted.
const standard = "-"

// kind is what buildx calls a type of output.
type kind string

const (
	layout        kind = "oci"     // a folder
	layoutArchive kind = "oci tar" // buildx' oci, unless it has tar=false
	dockerArchive kind = "docker"
	folder        kind = "local" // the files of the image
	archive       kind = "tar"   // likewise
	registry      kind = "registry"
	nothing       kind = "cacheonly" // the build alone
)

var kinds = []kind{layout, layoutArchive, dockerArchive, folder, archive, registry, nothing}

// placeless reports whether the output is no file or folder.
func (o Output) placeless() bool { return o.kind == registry || o.kind == nothing }

// Streams reports whether the output goes to standard output.
func (o Output) Streams() bool { return o.path == standard }

// Pushes reports whether the output is the registry that the image's names tell.
func (o Output) Pushes() bool { return o.kind == registry }

// ParseOutput reads KIND:PATH, as oci:DIR, docker:FILE, local:DIR or tar:FILE; or what docker buildx reads: type=KIND,dest=PATH,
// a folder alone for its files, and - for a tar of them. A PATH - is standard output.
func ParseOutput(s string) (Output, error) {
	const hint = "for example: -o oci:DIR, -o docker:FILE, -o local:DIR, -o tar:FILE or -o type=oci,dest=FILE"
	word, path, short := strings.Cut(s, ":")
	o := Output{kind: kind(word), path: path}
	switch {
	case strings.Contains(word, "="):
		var err error
		if o, err = parseFields(s); err != nil {
			return o, err
		}
	case s == standard:
		o = Output{kind: archive, path: standard}
	case !short && !slices.Contains(kinds, o.kind):
		o = Output{kind: folder, path: s}
	}
	if o.kind == layout && o.path == standard {
		o.kind = layoutArchive
	}
	switch {
	case !slices.Contains(kinds, o.kind):
		return o, fault.Usagef(hint, "--output %s: %q is no kind of output", s, o.kind)
	case o.placeless() && o.path != "":
		return o, fault.Usagef("name the image with -t", "--output %s: %s has no path", s, o.kind)
	case o.kind == folder && o.path == standard:
		return o, fault.Usagef("-o - writes a tar", "--output %s: a folder does not go to standard output", s)
	case o.kind == dockerArchive && o.path == "":
		return o, fault.Usagef("write -o docker:FILE, and then docker load -i FILE", "--output %s: there is no Docker daemon to load into", s)
	case !o.placeless() && o.path == "":
		return o, fault.Usagef(hint, "--output %s names no destination", s)
	}
	return o, nil
}

// parseFields reads KEY=VALUE with commas between them, in quotes where they hold one, as buildx does.
func parseFields(s string) (Output, error) {
	list, err := csv.NewReader(strings.NewReader(s)).Read()
	if err != nil {
		return Output{}, fault.Usagef("for example: -o type=oci,dest=FILE", "--output %s: it is no list with commas", s)
	}
	fields := map[string]string{}
	for _, field := range list {
		key, value, _ := strings.Cut(field, "=")
		fields[strings.TrimSpace(key)] = value
	}
	o := Output{kind: kind(fields["type"]), path: fields["dest"]}
	if o.kind == layout && fields["tar"] != "false" {
		o.kind = layoutArchive
	}
	if o.kind == "image" {
		if fields["push"] != "true" {
			return o, fault.Usagef("add push=true, or write a file: -o type=oci,dest=FILE", "--output %s: there is no image store to leave the image in", s)
		}
		o.kind = registry
	}
	if name := fields["name"]; name != "" && o.kind == registry {
		o.Names = strings.Split(name, ",")
	}
	known := map[kind][]string{layout: {"tar"}, layoutArchive: {"tar"}, registry: {"push", "name"}}[o.kind]
	for _, key := range slices.Sorted(maps.Keys(fields)) {
		if key != "type" && key != "dest" && !slices.Contains(known, key) {
			word, _, _ := strings.Cut(key, ".")
			return o, fault.Usagef(cmp.Or(instead[word], "leave it out"), "--output %s: %s is not supported", s, key)
		}
	}
	return o, nil
}

// instead is what to do where buildx has a key of an output.
var instead = map[string]string{
	"name":              "name the image with -t",
	"annotation":        "give it with --annotation",
	"annotation-index":  "give it with --annotation index:KEY=VALUE",
	"compression":       "--compression says it for all outputs",
	"compression-level": "--compression-level says it for all outputs",
	"force-compression": "--compression is for all layers",
	"push-by-digest":    "an image is pushed by its names, -t; its digest is in --iidfile and --metadata-file",
	"rewrite-timestamp": "SOURCE_DATE_EPOCH alone does that",
	"oci-mediatypes":    "the media types are those of the base image, OCI's without one",
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
	case registry, nothing:
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
