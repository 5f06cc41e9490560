package cli

import (
	"os"
	"strings"
	"unicode"
)

// Style is how a terminal shows a cell.
type Style string

const (
	Plain  Style = ""
	Strong Style = "\x1b[1m"
	Faint  Style = "\x1b[2m"
	Alert  Style = "\x1b[33m"
)

const endOfStyle = "\x1b[0m"

// Cell is one field of a table.
type Cell struct {
	Text  string
	Style Style
}

// Table is rows in aligned columns, a line each; a row without cells is an empty line. Only a terminal gets styles, and
// only without NO_COLOR (no-color.org).
func (c *Console) Table(rows [][]Cell) string {
	styled := isTerminal(c.Out) && c.Getenv("NO_COLOR") == "" && c.Getenv("TERM") != "dumb"
	var widths []int
	for _, row := range rows {
		for i, cell := range row {
			if i == len(widths) {
				widths = append(widths, 0)
			}
			widths[i] = max(widths[i], width(oneLine(cell.Text)))
		}
	}
	var b strings.Builder
	for _, row := range rows {
		gap := 0 // held back, so that no line ends in blanks
		for i, cell := range row {
			text := oneLine(cell.Text)
			if text != "" {
				b.WriteString(strings.Repeat(" ", gap))
				b.WriteString(cell.Style.apply(text, styled))
				gap = 0
			}
			gap += widths[i] - width(text) + columnGap
		}
		b.WriteByte('\n')
	}
	return b.String()
}

const columnGap = 2 // blanks between columns

// width is how many columns of a terminal text takes: Chinese, Japanese and Korean characters take two.
func width(text string) int {
	n := 0
	for _, r := range text {
		switch {
		case unicode.Is(unicode.Mn, r):
		case unicode.In(r, unicode.Han, unicode.Hiragana, unicode.Katakana, unicode.Hangul):
			n += 2
		default:
			n++
		}
	}
	return n
}

func (s Style) apply(text string, styled bool) string {
	if !styled || s == Plain {
		return text
	}
	return string(s) + text + endOfStyle
}

// isTerminal reports whether w is a terminal, or another device that shows characters.
func isTerminal(w any) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	stat, err := f.Stat()
	return err == nil && stat.Mode()&os.ModeCharDevice != 0
}
