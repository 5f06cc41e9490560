package diagram_test

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/ksera524/imgbump/internal/diagram"
)

var hostile = diagram.Diagram{Title: `a "title" & <b>`, Boxes: []diagram.Box{
	{Title: `root"]; click x`, Tag: "wave 1", Lines: []string{"<script>alert(1)</script>", "end\nof `line` \\ {x}"}, Alert: true},
	{Title: "child", Lines: []string{strings.Repeat("long/", 40)}},
}, Arrows: []diagram.Arrow{{0, 1}, {1, 1}}}

func TestMermaid(t *testing.T) {
	want := `flowchart LR
  n0["root#quot;]; click x (wave 1)<br/>#lt;script#gt;alert(1)#lt;/script#gt;<br/>end of #96;line#96; #92; #123;x#125;"]
  n1["child<br/>` + strings.Repeat("long/", 40) + `"]
  n0 --> n1
  n1 --> n1
  classDef alert stroke:#c62828,stroke-width:3px
  class n0 alert
`
	if diff := cmp.Diff(want, hostile.Mermaid()); diff != "" {
		t.Error(diff)
	}
}

func TestDot(t *testing.T) {
	dot := hostile.Dot()
	if !strings.Contains(dot, `label="root\"]; click x (wave 1)\l<script>alert(1)</script>\lend of `+"`line`"+` \\ {x}\l", color=`) {
		t.Error(dot)
	}
	graphviz, err := exec.LookPath("dot")
	if err != nil {
		return // the text above is what counts; this asks its reader as well
	}
	cmd := exec.Command(graphviz, "-Tplain")
	cmd.Stdin = strings.NewReader(dot)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

// TestSVG reads the picture as XML: nothing of the text became an element, and no box lies upon another.
func TestSVG(t *testing.T) {
	var big diagram.Diagram
	for n := range 40 {
		big.Boxes = append(big.Boxes, diagram.Box{Title: fmt.Sprint("box ", n), Lines: make([]string, n%4)})
		if n > 0 {
			big.Arrows = append(big.Arrows, diagram.Arrow{From: n / 3, To: n})
		}
	}
	big.Arrows = append(big.Arrows, diagram.Arrow{From: 39, To: 0}) // a circle
	lone := diagram.Diagram{Boxes: make([]diagram.Box, 200)}
	for _, d := range []diagram.Diagram{hostile, big, fan(300), fan(47), lone, {}} {
		var boxes [][4]float64
		dec := xml.NewDecoder(strings.NewReader(d.SVG()))
		for {
			token, err := dec.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			e, ok := token.(xml.StartElement)
			if ok && e.Name.Local == "script" {
				t.Error("the picture has a script")
			}
			if ok && e.Name.Local == "rect" {
				boxes = append(boxes, rectangle(t, e))
			}
		}
		if len(boxes) != len(d.Boxes) {
			t.Errorf("%d boxes are drawn, not %d", len(boxes), len(d.Boxes))
		}
		for i, a := range boxes {
			for _, b := range boxes[i+1:] {
				if a[0] < b[0]+b[2] && b[0] < a[0]+a[2] && a[1] < b[1]+b[3] && b[1] < a[1]+a[3] {
					t.Errorf("%v lies upon %v", a, b)
				}
			}
		}
	}
	if regexp.MustCompile(`(long/){20}`).MatchString(strings.Split(hostile.SVG(), "</title>")[3]) {
		t.Error("a long line is drawn whole")
	}
}

func rectangle(t *testing.T, e xml.StartElement) (r [4]float64) {
	t.Helper()
	for _, a := range e.Attr {
		for i, name := range []string{"x", "y", "width", "height"} {
			if a.Name.Local == name {
				v, err := strconv.ParseFloat(a.Value, 64)
				if err != nil {
					t.Fatal(err)
				}
				r[i] = v
			}
		}
	}
	return r
}

// Texts that a terminal, a browser or XML would take for more than text are none.
func TestShown(t *testing.T) {
	d := diagram.Diagram{Boxes: []diagram.Box{{Title: "\x1b[31mred\u202e \ufffe\u009b", Lines: []string{"$$x^2$$ \xff"}}}}
	for at, box := range d.Outline() {
		if at.Depth != 0 || box.Title != " [31mred    " || box.Lines[0] != "$$x^2$$ \ufffd" {
			t.Errorf("%q %q", box.Title, box.Lines)
		}
	}
	if text := d.Mermaid(); strings.Contains(text, "$$") || strings.Contains(text, "\u202e") {
		t.Error(text)
	}
	if err := xml.Unmarshal([]byte(d.SVG()), new(struct{})); err != nil {
		t.Error(err)
	}
}

// A box is wide enough for East Asian letters, and cut where it would be too wide.
func TestWidth(t *testing.T) {
	width := func(title string) float64 {
		d := diagram.Diagram{Boxes: []diagram.Box{{Title: title}}}
		m := regexp.MustCompile(`<rect [^>]* width="([0-9.]+)"`).FindStringSubmatch(d.SVG())
		v, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if got, want := width("本番環境"), width("12345678"); got != want {
		t.Errorf("four wide letters take %v, not %v", got, want)
	}
	if got, want := width("e\u0301"), width("e"); got != want {
		t.Errorf("a letter with a mark takes %v, not %v", got, want)
	}
	if got, want := width(strings.Repeat("本", 200)), width(strings.Repeat("x", 63)); got != want {
		t.Errorf("a long title takes %v, not %v", got, want)
	}
	d := diagram.Diagram{Boxes: []diagram.Box{{Title: strings.Repeat("本", 200)}}}
	if !strings.Contains(d.SVG(), ">"+strings.Repeat("本", 31)+"…<") {
		t.Error("it is not cut at a letter")
	}
}

func TestMermaidFits(t *testing.T) {
	long := diagram.Diagram{Boxes: []diagram.Box{{Title: strings.Repeat("x", 50_000-len("flowchart LR\n  n0[\"\"]\n"))}}}
	if !long.MermaidFits() {
		t.Error("50,000 characters do not fit")
	}
	if long.Boxes[0].Title += "x"; long.MermaidFits() {
		t.Error("50,001 characters fit")
	}
	many := diagram.Diagram{Boxes: make([]diagram.Box, 2), Arrows: make([]diagram.Arrow, 500)}
	if !many.MermaidFits() {
		t.Error("500 arrows do not fit")
	}
	if many.Arrows = append(many.Arrows, diagram.Arrow{}); many.MermaidFits() {
		t.Error("501 arrows fit")
	}
}

// fan is one box that leads to many, the last of which leads on.
func fan(many int) (d diagram.Diagram) {
	for n := range many {
		d.Boxes = append(d.Boxes, diagram.Box{Title: fmt.Sprint("box ", n), Lines: make([]string, n%3)})
		d.Arrows = append(d.Arrows, diagram.Arrow{From: 0, To: n + 1})
	}
	d.Boxes = append(d.Boxes, diagram.Box{}, diagram.Box{})
	d.Arrows = append(d.Arrows, diagram.Arrow{From: many, To: many + 1}, diagram.Arrow{From: many + 1, To: 1})
	return d
}

// What leads to many is in sight of the first of them. Of very many there is one arrow to all, and they are beside each other.
func TestMany(t *testing.T) {
	for many, want := range map[int]struct{ arrows, highest int }{
		47:  {49, 3100},
		300: {4, 5000}, // to the frame, to the last one, from that on, and back into the frame
	} {
		svg := fan(many).SVG()
		if got := strings.Count(svg, `class="head"`); got != want.arrows {
			t.Errorf("of %d: %d arrows, not %d", many, got, want.arrows)
		}
		var width, height int
		if _, err := fmt.Sscanf(svg, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d"`, &width, &height); err != nil || height > want.highest {
			t.Errorf("of %d: %d high: %v", many, height, err)
		}
		m := regexp.MustCompile(`<rect x="16.0" y="([0-9.]+)"`).FindStringSubmatch(svg)
		if y, err := strconv.ParseFloat(m[1], 64); err != nil || y > 200 {
			t.Errorf("of %d: the first is at %v: %v", many, y, err)
		}
	}
}

func BenchmarkSVG(b *testing.B) {
	var d diagram.Diagram
	for n := range 300 {
		d.Boxes = append(d.Boxes, diagram.Box{Title: fmt.Sprint("application-", n), Tag: "wave 1", Lines: []string{"registry.example.com/team/web:1", "redis:8"}})
		d.Arrows = append(d.Arrows, diagram.Arrow{From: n / 10, To: n})
	}
	for b.Loop() {
		d.SVG()
	}
}

func TestOutline(t *testing.T) {
	d := diagram.Diagram{Boxes: []diagram.Box{{Title: "a"}, {Title: "b"}, {Title: "c"}, {Title: "x"}, {Title: "y"}},
		Arrows: []diagram.Arrow{{0, 2}, {1, 2}, {0, 1}, {3, 4}, {4, 3}}}
	var got []string
	for at, box := range d.Outline() {
		got = append(got, fmt.Sprintln(at.Depth, box.Title, at.Again))
	}
	want := []string{"0 a false\n", "1 b false\n", "2 c false\n", "1 c true\n", "0 x false\n", "1 y false\n", "2 x true\n"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
