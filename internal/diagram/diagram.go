// Package diagram draws what leads to what, as boxes and arrows: for Markdown (Mermaid), Graphviz (dot) and browsers (SVG).
package diagram

import (
	"iter"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// Diagram is boxes, in the order in which those beside each other are drawn, with arrows between them.
type Diagram struct {
	Title  string
	Boxes  []Box
	Arrows []Arrow
}

// Box is one of the things.
type Box struct {
	Title string
	Tag   string   // a word on what it is, beside the title
	Lines []string // what it holds
	Alert bool     // something is wrong with it
}

// Arrow leads from one box to another, by their numbers.
type Arrow struct{ From, To int }

// shown is text on one line, without what a terminal or a browser would take for more than text, or XML would not take.
func shown(text string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || unicode.In(r, unicode.Zl, unicode.Zp, unicode.Bidi_Control, unicode.Noncharacter_Code_Point) {
			return ' '
		}
		return r
	}, text)
}

// shown is the box with its texts as they are shown.
func (b Box) shown() Box {
	lines := make([]string, len(b.Lines))
	for i, line := range b.Lines {
		lines[i] = shown(line)
	}
	b.Title, b.Tag, b.Lines = shown(b.Title), shown(b.Tag), lines
	return b
}

// columns is how wide a rune is in a font whose letters are one column wide: East Asian ones are two, marks on others none.
func columns(r rune) int {
	switch kind := width.LookupRune(r).Kind(); {
	case unicode.In(r, unicode.Mn, unicode.Me, unicode.Cf):
		return 0
	case kind == width.EastAsianWide || kind == width.EastAsianFullwidth:
		return 2
	}
	return 1
}

// Level is where a box stands in an outline. Again says that it stood there before, with what comes below it.
type Level struct {
	Depth int
	Again bool
}

// Outline is the boxes as an indented list: each below every one that leads to it, in full the first time. Their texts are
// fit for a terminal.
func (d Diagram) Outline() iter.Seq2[Level, Box] {
	return func(yield func(Level, Box) bool) {
		next, entered := d.arrows()
		seen := make([]bool, len(d.Boxes))
		var visit func(n, depth int) bool
		visit = func(n, depth int) bool {
			again := seen[n]
			seen[n] = true
			if !yield(Level{depth, again}, d.Boxes[n].shown()) {
				return false
			}
			for _, to := range next[n] {
				if !again && !visit(to, depth+1) {
					return false
				}
			}
			return true
		}
		for _, circles := range []bool{false, true} {
			for n := range d.Boxes {
				if !seen[n] && (circles || !entered[n]) && !visit(n, 0) {
					return
				}
			}
		}
	}
}

// arrows are those that lead on from each box, and whether one leads to it; from a box to itself does not count.
func (d Diagram) arrows() (next [][]int, entered []bool) {
	next, entered = make([][]int, len(d.Boxes)), make([]bool, len(d.Boxes))
	for _, a := range d.Arrows {
		if a.From != a.To {
			next[a.From] = append(next[a.From], a.To)
			entered[a.To] = true
		}
	}
	for n := range next {
		slices.Sort(next[n])
	}
	return next, entered
}
