package cli

import (
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/fault"
)

// Progress is a block of lines at the end of what stderr shows, which change while the work goes on. Only a terminal has
// it: elsewhere, and with --quiet, nothing is drawn. It is safe for use by several goroutines.
type Progress struct {
	console *Console
	now     func() time.Time
	drawn   time.Time
	lines   map[int][]string
	height  int // lines that stand on the terminal now
}

// redrawAfter keeps a terminal from being flooded.
const redrawAfter = 100 * time.Millisecond

// Progress starts a block of lines; End removes it.
func (c *Console) Progress() *Progress {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := &Progress{console: c, now: time.Now, lines: map[int][]string{}}
	draws := isTerminal(c.Err) && !c.Workflow.Active() && c.Getenv("TERM") != "dumb"
	if c.drawing != "" {
		draws = c.drawing == "tty"
	}
	if draws && !c.quiet {
		c.progress = p
	}
	return p
}

// ShowProgress decides how it is shown what goes on, as docker's --progress: "auto" draws on a terminal, "tty" anywhere,
// "plain" nowhere; "quiet" shows nothing.
func (c *Console) ShowProgress(how string) error {
	switch how {
	case "auto":
	case "plain", "tty":
		c.drawing = how
	case "quiet":
		c.quiet = true
	default:
		return fault.Usagef("it is auto, plain, tty or quiet; the result has --format json", "--progress %s is unknown to %s", how, c.binary)
	}
	return nil
}

// Live reports whether the block is drawn.
func (p *Progress) Live() bool {
	p.console.mu.Lock()
	defer p.console.mu.Unlock()
	return p.console.progress == p
}

// Show makes texts the lines with that number.
func (p *Progress) Show(number int, texts ...string) {
	p.console.mu.Lock()
	defer p.console.mu.Unlock()
	p.lines[number] = nil
	for _, text := range texts {
		p.lines[number] = append(p.lines[number], oneLine(text))
	}
	if now := p.now(); p.console.progress == p && now.Sub(p.drawn) >= redrawAfter {
		p.drawn = now
		p.draw()
	}
}

// Remove takes the lines with that number away.
func (p *Progress) Remove(number int) {
	p.console.mu.Lock()
	defer p.console.mu.Unlock()
	delete(p.lines, number)
}

// End removes what is left of the block.
func (p *Progress) End() {
	p.console.mu.Lock()
	defer p.console.mu.Unlock()
	if p.console.progress == p {
		p.erase()
		p.console.progress = nil
	}
}

// draw replaces the block, in one write so that it does not flicker. What does not fit on the terminal is cut, for a line
// that wraps cannot be replaced.
func (p *Progress) draw() {
	var lines []string
	for _, number := range slices.Sorted(maps.Keys(p.lines)) {
		lines = append(lines, p.lines[number]...)
	}
	columns, rows := extent(p.console.Err)
	if rows > 0 {
		lines = lines[max(0, len(lines)-(rows-1)):]
	}
	var b strings.Builder
	b.WriteString(p.up())
	for _, line := range lines {
		b.WriteString(cut(line, columns) + "\n")
	}
	p.height = len(lines)
	io.WriteString(p.console.Err, b.String())
}

// extent is the size of a terminal in characters, 0 where nobody knows.
func extent(w any) (columns, rows int) {
	f, ok := w.(*os.File)
	if !ok {
		return 0, 0
	}
	size, err := unix.IoctlGetWinsize(int(f.Fd()), unix.TIOCGWINSZ)
	if err != nil {
		return 0, 0
	}
	return int(size.Col), int(size.Row)
}

// cut is as much of a line as columns of a terminal have room for; 0 is any.
func cut(line string, columns int) string {
	if columns == 0 || width(line) <= columns {
		return line
	}
	room := columns - 1
	for i, r := range line {
		if room -= width(string(r)); room < 0 {
			return line[:i] + "…"
		}
	}
	return line
}

func (p *Progress) erase() {
	io.WriteString(p.console.Err, p.up())
	p.height = 0
}

// up goes to the beginning of the block and clears all below.
func (p *Progress) up() string {
	if p.height == 0 {
		return ""
	}
	return fmt.Sprintf("\x1b[%dA\x1b[J", p.height)
}
