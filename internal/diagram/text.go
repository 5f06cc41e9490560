package diagram

import (
	"fmt"
	"strings"
	"unicode/utf16"
)

// Mermaid is the diagram as Markdown on GitHub takes it in a block of its own (https://mermaid.js.org/syntax/flowchart.html).
func (d Diagram) Mermaid() string {
	var b strings.Builder
	b.WriteString("flowchart LR\n")
	for n, box := range d.Boxes {
		fmt.Fprintf(&b, "  n%d[\"%s\"]\n", n, strings.Join(box.text(mermaidText), "<br/>"))
	}
	for _, a := range d.Arrows {
		fmt.Fprintf(&b, "  n%d --> n%d\n", a.From, a.To)
	}
	alert := ""
	for n, box := range d.Boxes {
		if box.Alert {
			alert += fmt.Sprintf(",n%d", n)
		}
	}
	if alert != "" {
		fmt.Fprintf(&b, "  classDef alert stroke:#c62828,stroke-width:3px\n  class %s alert\n", alert[1:])
	}
	return b.String()
}

// mermaidText has Mermaid's own character codes for what it or HTML would read as something else.
var mermaidText = strings.NewReplacer("#", "#35;", `"`, "#quot;", "<", "#lt;", ">", "#gt;", "&", "#amp;", "`", "#96;", "\\", "#92;", "{", "#123;", "}", "#125;", "$", "#36;")

// What GitHub draws at most (https://mermaid.js.org/config/schema-docs/config.html, maxTextSize and maxEdges).
const (
	MermaidCharacters = 50_000
	MermaidArrows     = 500
)

// MermaidFits reports whether GitHub draws the diagram.
func (d Diagram) MermaidFits() bool {
	return len(d.Arrows) <= MermaidArrows && len(utf16.Encode([]rune(d.Mermaid()))) <= MermaidCharacters
}

// Dot is the diagram in Graphviz' language.
func (d Diagram) Dot() string {
	var b strings.Builder
	fmt.Fprintf(&b, "digraph \"%s\" {\n  rankdir=LR\n  node [shape=box, fontname=\"sans-serif\", style=rounded]\n", dotText.Replace(shown(d.Title)))
	for n, box := range d.Boxes {
		colour := ""
		if box.Alert {
			colour = ", color=\"#c62828\", penwidth=2"
		}
		fmt.Fprintf(&b, "  n%d [label=\"%s\\l\"%s]\n", n, strings.Join(box.text(dotText), "\\l"), colour)
	}
	for _, a := range d.Arrows {
		fmt.Fprintf(&b, "  n%d -> n%d\n", a.From, a.To)
	}
	b.WriteString("}\n")
	return b.String()
}

var dotText = strings.NewReplacer("\\", "\\\\", `"`, "\\\"")

// text is the box's lines.
func (b Box) text(escape *strings.Replacer) []string {
	b = b.shown()
	if b.Tag != "" {
		b.Title += " (" + b.Tag + ")"
	}
	all := []string{escape.Replace(b.Title)}
	for _, line := range b.Lines {
		all = append(all, escape.Replace(line))
	}
	return all
}
