package diagram

import (
	"fmt"
	"html"
	"strings"
)

// Sizes in an SVG, in pixels.
const (
	margin     = 16
	padding    = 10
	lineHeight = 18
	gapX       = 56
	gapY       = 12
	charWidth  = 7.25 // of the monospaced font at 12 px
	widest     = 64   // columns of a line; the rest is in the box's tooltip
	lowest     = 160  // that a box stands below the first of those that it leads to, so that one sees both
)

// place is where a box is drawn.
type place struct{ x, y, width, height float64 }

// SVG is the diagram as a picture: from the left to the right, light or dark as the reader's browser is, with the whole text
// of a box as its tooltip.
func (d Diagram) SVG() string {
	places, width, height := d.layout()
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(shown(d.Title)))
	fmt.Fprintf(&b, "<title>%s</title>\n%s\n", html.EscapeString(shown(d.Title)), style)
	for _, a := range d.Arrows {
		b.WriteString(arrow(places[a.From], places[a.To]))
	}
	for n, box := range d.Boxes {
		box.draw(&b, places[n])
	}
	b.WriteString("</svg>\n")
	return b.String()
}

const style = `<style>
svg { background: #fff; font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
rect { fill: #f6f8fa; stroke: #8c959f; } .alert rect { stroke: #c62828; stroke-width: 2; }
text { fill: #1f2328; } .title { font-weight: bold; } .tag, .line { fill: #59636e; }
path { fill: none; stroke: #8c959f; } .head { fill: #8c959f; stroke: none; }
@media (prefers-color-scheme: dark) {
svg { background: #0d1117; } rect { fill: #161b22; stroke: #6e7681; } .alert rect { stroke: #ff7b72; }
text { fill: #e6edf3; } .tag, .line { fill: #9198a1; } path { stroke: #6e7681; } .head { fill: #6e7681; }
}
</style>`

// draw adds a box.
func (b Box) draw(out *strings.Builder, p place) {
	class := "box"
	if b.Alert {
		class += " alert"
	}
	b = b.shown()
	all := append([]string{strings.TrimSpace(b.Title + " " + b.Tag)}, b.Lines...)
	fmt.Fprintf(out, `<g class="%s"><title>%s</title><rect x="%.1f" y="%.1f" width="%.1f" height="%.1f" rx="6"/>`,
		class, html.EscapeString(strings.Join(all, "\n")), p.x, p.y, p.width, p.height)
	x, y := p.x+padding, p.y+padding+12
	fmt.Fprintf(out, `<text x="%.1f" y="%.1f" xml:space="preserve"><tspan class="title">%s</tspan><tspan class="tag">%s</tspan></text>`,
		x, y, html.EscapeString(cut(b.Title)), html.EscapeString(b.suffix()))
	for _, line := range b.Lines {
		y += lineHeight
		fmt.Fprintf(out, `<text class="line" x="%.1f" y="%.1f">%s</text>`, x, y, html.EscapeString(cut(line)))
	}
	out.WriteString("</g>\n")
}

func (b Box) suffix() string {
	if b.Tag == "" {
		return ""
	}
	return "  " + cut(b.Tag)
}

// cut is as much of a line as is drawn.
func cut(line string) string {
	line = shown(line)
	if wide(line) <= widest {
		return line
	}
	taken := 1 // of the mark that something is left out
	for i, r := range line {
		if taken += columns(r); taken > widest {
			return line[:i] + "…"
		}
	}
	return line
}

// wide is the width of a text in columns.
func wide(text string) (total int) {
	for _, r := range text {
		total += columns(r)
	}
	return total
}

// arrow is a curve from the right of one box to the left of another.
func arrow(from, to place) string {
	x1, y1 := from.x+from.width, from.y+from.height/2
	x2, y2 := to.x-6, to.y+to.height/2
	bend := max(gapX/2, (x2-x1)/2)
	return fmt.Sprintf(`<path d="M%.1f %.1f C%.1f %.1f %.1f %.1f %.1f %.1f"/><path class="head" d="M%.1f %.1f l-7 -4 v8 z"/>`+"\n",
		x1, y1, x1+bend, y1, x2-bend, y2, x2, y2, x2+6, y2)
}

// layout puts each box right of the one that leads to it first, below the box before it. The sizes are those of the whole.
func (d Diagram) layout() (places []place, width, height float64) {
	depth, children := d.forest()
	places = make([]place, len(d.Boxes))
	columns := map[int]float64{} // widths
	for n, box := range d.Boxes {
		places[n].width, places[n].height = box.size()
		columns[depth[n]] = max(columns[depth[n]], places[n].width)
	}
	left := map[int]float64{0: margin}
	for c := 1; c <= len(columns); c++ {
		left[c] = left[c-1] + columns[c-1] + gapX
	}
	height = margin
	var put func(n int)
	put = func(n int) {
		top := height
		for _, child := range children[n] {
			put(child)
		}
		places[n].x, places[n].y = left[depth[n]], top
		if own := top + places[n].height + gapY; own > height {
			height = own
		} else {
			places[n].y = min((top+height-gapY-places[n].height)/2, top+lowest)
		}
		width = max(width, places[n].x+places[n].width+margin)
	}
	for n := range d.Boxes {
		if depth[n] == 0 {
			put(n)
		}
	}
	return places, max(width, 2*margin), height - gapY + margin
}

func (b Box) size() (width, height float64) {
	longest := wide(cut(b.Title)) + wide(b.suffix())
	for _, line := range b.Lines {
		longest = max(longest, wide(cut(line)))
	}
	return 2*padding + float64(longest)*charWidth, 2*padding + float64(1+len(b.Lines))*lineHeight - 4
}

// forest gives each box one that leads to it, so that all hang together as trees: depth is how many boxes are before it. Of
// boxes that lead to each other in a circle the first is a root.
func (d Diagram) forest() (depth []int, children [][]int) {
	depth, children = make([]int, len(d.Boxes)), make([][]int, len(d.Boxes))
	next, entered := d.arrows()
	seen := make([]bool, len(d.Boxes))
	var visit func(n, at int)
	visit = func(n, at int) {
		seen[n], depth[n] = true, at
		for _, to := range next[n] {
			if !seen[to] {
				children[n] = append(children[n], to)
				visit(to, at+1)
			}
		}
	}
	for _, circles := range []bool{false, true} {
		for n := range d.Boxes {
			if !seen[n] && (circles || !entered[n]) {
				visit(n, 0)
			}
		}
	}
	return depth, children
}
