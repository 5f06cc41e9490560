package diagram

import (
	"fmt"
	"html"
	"math"
	"slices"
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
	slender    = 12   // boxes below each other for each that is beside another
	lowest     = 160  // that a box stands below the first of those that it leads to, so that one sees both
)

// place is where a box is drawn.
type place struct{ x, y, width, height float64 }

// SVG is the diagram as a picture: from the left to the right, light or dark as the reader's browser is, with the whole text
// of a box as its tooltip.
func (d Diagram) SVG() string {
	l := d.layout()
	width, height := max(l.width, 2*margin), l.height-gapY+margin
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%.0f" height="%.0f" viewBox="0 0 %.0f %.0f" role="img" aria-label="%s">`+"\n",
		width, height, width, height, html.EscapeString(shown(d.Title)))
	fmt.Fprintf(&b, "<title>%s</title>\n%s\n", html.EscapeString(shown(d.Title)), style)
	for _, f := range l.frames {
		p := f.place
		fmt.Fprintf(&b, `<path class="frame" d="M%.1f %.1f h%.1f v%.1f h-%.1f z"/>`+"\n", p.x, p.y, p.width, p.height, p.width)
		from := l.places[f.from]
		p.y, p.height = max(p.y, from.y), from.height // the arrow goes straight
		b.WriteString(arrow(from, p))
	}
	for _, a := range d.Arrows {
		if from, framed := l.framed[a.To]; !framed || from != a.From {
			b.WriteString(arrow(l.places[a.From], l.places[a.To]))
		}
	}
	for n, box := range d.Boxes {
		box.draw(&b, l.places[n])
	}
	b.WriteString("</svg>\n")
	return b.String()
}

const style = `<style>
svg { background: #fff; font: 12px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; }
rect { fill: #f6f8fa; stroke: #8c959f; } .alert rect { stroke: #c62828; stroke-width: 2; }
text { fill: #1f2328; } .title { font-weight: bold; } .tag, .line { fill: #59636e; }
path { fill: none; stroke: #8c959f; } .frame { stroke-dasharray: 4; } .head { fill: #8c959f; stroke: none; }
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

// layout puts each box right of the one that leads to it first, below the box before it.
func (d Diagram) layout() layout {
	l := layout{places: make([]place, len(d.Boxes)), framed: map[int]int{}, left: map[int]float64{0: margin}, height: margin}
	l.depth, l.children = d.forest()
	columns := map[int]float64{} // widths
	for n, box := range d.Boxes {
		l.places[n].width, l.places[n].height = box.size()
		columns[l.depth[n]] = max(columns[l.depth[n]], l.places[n].width)
	}
	for c := 1; c <= len(columns); c++ {
		l.left[c] = l.left[c-1] + columns[c-1] + gapX
	}
	var roots []int
	for n := range d.Boxes {
		if l.depth[n] == 0 {
			roots = append(roots, n)
		}
	}
	l.putAll(nothing, roots)
	return l
}

// layout is what has been laid out so far.
type layout struct {
	places        []place
	frames        []frame
	framed        map[int]int // boxes in frames: by their number that of the box which leads to the frame
	depth         []int
	children      [][]int
	left          map[int]float64 // by depth
	width, height float64
}

// frame is around boxes that one arrow leads to, in place of one to each.
type frame struct {
	from  int
	place place
}

// nothing leads to the roots.
const nothing = -1

// putAll places boxes that another leads to, with those that they lead to.
func (l *layout) putAll(from int, boxes []int) {
	for len(boxes) > 0 {
		leaves := slices.IndexFunc(boxes, func(n int) bool { return len(l.children[n]) > 0 })
		if leaves < 0 {
			leaves = len(boxes)
		}
		if l.block(from, boxes[:leaves]); leaves < len(boxes) {
			l.put(boxes[leaves])
			leaves++
		}
		boxes = boxes[leaves:]
	}
}

// put places a box beside those that it leads to.
func (l *layout) put(n int) {
	top := l.height
	l.putAll(n, l.children[n])
	p := &l.places[n]
	p.x, p.y = l.left[l.depth[n]], top
	if own := top + p.height + gapY; own > l.height {
		l.height = own
	} else {
		p.y = min((top+l.height-gapY-p.height)/2, top+lowest)
	}
	l.width = max(l.width, p.x+p.width+margin)
}

// block places boxes that lead nowhere: below each other, and many in several columns with a frame around them, so that the
// whole is not too high to be looked at.
func (l *layout) block(from int, boxes []int) {
	if len(boxes) == 0 {
		return
	}
	columns := max(1, int(math.Sqrt(float64(len(boxes))/slender)))
	top, left, inside := l.height, l.left[l.depth[boxes[0]]], 0.0
	if columns > 1 && from != nothing {
		inside = padding
	}
	right := left + inside
	for column := range slices.Chunk(boxes, (len(boxes)+columns-1)/columns) {
		x, y := right, top+inside
		for _, n := range column {
			p := &l.places[n]
			p.x, p.y = x, y
			y += p.height + gapY
			right = max(right, x+p.width)
		}
		right += gapY
		l.height = max(l.height, y)
	}
	right += inside - gapY
	l.height += inside
	l.width = max(l.width, right+margin)
	if inside > 0 {
		l.frames = append(l.frames, frame{from, place{left, top, right - left, l.height - gapY - top}})
		for _, n := range boxes {
			l.framed[n] = from
		}
	}
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
