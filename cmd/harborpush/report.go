package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/image"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/ship"
)

// document is the JSON document of push, append, copy and build; docs/json.md is its description.
type document struct {
	Schema      string            `json:"schema"`
	References  []string          `json:"references"`
	Skipped     []string          `json:"skipped"`
	Digest      string            `json:"digest"`
	MediaType   string            `json:"media_type"`
	Platforms   []string          `json:"platforms"`
	Layers      []layerDocument   `json:"layers"`
	Steps       []stepDocument    `json:"steps"`
	BytesPushed int64             `json:"bytes_pushed"`
	DurationMS  int64             `json:"duration_ms"`
	Failures    []failureDocument `json:"failures"`
}

type layerDocument struct {
	Digest string       `json:"digest"`
	Size   int64        `json:"size"`
	Status image.Status `json:"status"`
}

type failureDocument struct {
	Error string `json:"error"`
	Hint  string `json:"hint"`
}

// metadata is what docker/build-push-action calls so.
type metadata struct {
	Digest     string     `json:"containerimage.digest"`
	Descriptor descriptor `json:"containerimage.descriptor"`
	Name       string     `json:"image.name"`
}

type descriptor struct {
	MediaType string `json:"mediaType"`
	Digest    string `json:"digest"`
	Size      int64  `json:"size"`
}

// report tells the workflow around a command what came of it, prints that, and returns the error that it ends with: a
// failure after something was pushed is partial.
func (d *destination) report(c *cli.Console, verb string, result ship.Result, failed error) error {
	if fault.KindOf(failed) == fault.Usage {
		return failed
	}
	if result.MediaType != "" {
		failed = errors.Join(failed, d.tell(c, result))
		c.Progressf("%s: %s", result.Digest, account(result))
	}
	if failed != nil && len(result.References) > 0 && fault.KindOf(failed) == fault.Failed {
		failed = &fault.Error{Kind: fault.Partial, Hint: fault.HintOf(failed), Err: failed}
	}
	doc := newDocument(verb, result, failed)
	doc.Skipped, doc.Steps = append(doc.Skipped, d.harbor.kept...), d.steps.documents(result)
	if err := c.Print(doc, text(result)); err != nil {
		return cmp.Or(failed, err)
	}
	return failed
}

// account tells how much was sent and how fast, and what did not have to be: "12.3 MB uploaded in 1.2s (10.2 MB/s);
// 3 layers (45.0 MB) were there, 1 (2.0 MB) mounted".
func account(result ship.Result) string {
	if len(result.References) == 0 {
		return kept(result)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s uploaded in %s", size(result.BytesPushed), result.Duration.Round(time.Millisecond))
	if s := speed(result.BytesPushed, result.Duration); s != "" {
		fmt.Fprintf(&b, " (%s)", s)
	}
	mark, noun := "; ", " layers"
	for _, spared := range []struct {
		status image.Status
		how    string
	}{{image.Exists, "there before"}, {image.Mounted, "mounted"}} {
		layers, bytes := 0, int64(0)
		for _, l := range result.Layers {
			if l.Status == spared.status {
				layers, bytes = layers+1, bytes+l.Size
			}
		}
		if layers == 1 && noun != "" {
			noun = " layer"
		}
		if layers > 0 {
			fmt.Fprintf(&b, "%s%d%s (%s) %s", mark, layers, noun, size(bytes), spared.how)
			mark, noun = ", ", ""
		}
	}
	if result.Attached > 0 {
		fmt.Fprintf(&b, "; %d attached", result.Attached)
	}
	return b.String()
}

// kept is account of an image that was not pushed: "3 layers (45.0 MB) built in 1.2s".
func kept(result ship.Result) string {
	bytes, noun := int64(0), "layers"
	for _, l := range result.Layers {
		bytes += l.Size
	}
	if len(result.Layers) == 1 {
		noun = "layer"
	}
	return fmt.Sprintf("%d %s (%s) built in %s", len(result.Layers), noun, size(bytes), result.Duration.Round(time.Millisecond))
}

// text is the result for people and scripts: a line for each name, with the digest that it stands for.
func text(result ship.Result) string {
	var b strings.Builder
	for _, ref := range result.References {
		fmt.Fprintf(&b, "%s@%s\n", ref, result.Digest)
	}
	return b.String()
}

func newDocument(verb string, result ship.Result, failed error) document {
	d := document{
		Schema: "harborpush/" + verb + "/v1", References: names(result.References), Skipped: []string{}, MediaType: result.MediaType, Platforms: append([]string{}, result.Platforms...),
		Layers: []layerDocument{}, BytesPushed: result.BytesPushed, DurationMS: result.Duration.Milliseconds(), Failures: []failureDocument{},
	}
	if result.MediaType != "" {
		d.Digest = result.Digest.String()
	}
	for _, l := range result.Layers {
		d.Layers = append(d.Layers, layerDocument{Digest: l.Digest.String(), Size: l.Size, Status: l.Status})
	}
	if failed != nil {
		d.Failures = append(d.Failures, failureDocument{Error: failed.Error(), Hint: fault.HintOf(failed)})
	}
	return d
}

func names(refs []imageref.Ref) []string {
	all := []string{}
	for _, ref := range refs {
		all = append(all, ref.String())
	}
	return all
}

// tell sets the step's outputs, writes its summary and the metadata file. That one fails does not keep it from the others.
func (d *destination) tell(c *cli.Console, result ship.Result) error {
	digest := result.Digest.String()
	raw, err := json.Marshal(metadata{
		Digest: digest, Descriptor: descriptor{result.MediaType, digest, result.Size}, Name: strings.Join(names(d.refs), ","),
	})
	if err != nil {
		return err
	}
	outputs := [][2]string{{"digest", digest}, {"tags", strings.Join(names(result.References), "\n")}, {"metadata", string(raw)}}
	if len(result.References) > 0 {
		first := result.References[0]
		outputs = append(outputs, [2]string{"image", first.Bare().String() + "@" + digest}, [2]string{"version", first.Tag})
	}
	var errs []error
	for _, o := range outputs {
		errs = append(errs, c.Workflow.Output(o[0], o[1]))
	}
	errs = append(errs, c.Workflow.Summary(d.summary(result)))
	if d.metadataFile != "" {
		if err := os.WriteFile(d.metadataFile, append(raw, '\n'), 0o644); err != nil {
			errs = append(errs, fmt.Errorf("write the metadata: %w", err))
		}
	}
	return errors.Join(errs...)
}

// summary is the step summary: the names, the digest, and what became of each layer.
func (d *destination) summary(result ship.Result) string {
	var b strings.Builder
	b.WriteString("### Image\n\n")
	for _, ref := range result.References {
		fmt.Fprintf(&b, "- `%s`\n", ref)
	}
	digest := "`" + result.Digest.String() + "`"
	if d.page != "" {
		digest = "[" + digest + "](" + d.page + ")"
	}
	fmt.Fprintf(&b, "\n%s: %s\n\n", digest, account(result))
	b.WriteString("| Layer | Size | |\n| --- | ---: | --- |\n")
	for _, l := range result.Layers {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", l.Digest.Hex[:12], size(l.Size), l.Status)
	}
	b.WriteString(d.steps.summary(result))
	return b.String()
}
