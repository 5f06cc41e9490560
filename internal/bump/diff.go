package bump

import (
	"strconv"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Diff is what the plan does to the files, as a unified diff that `git apply` takes.
func (p Plan) Diff() string {
	var b strings.Builder
	for _, r := range p.Rewrites {
		b.WriteString(r.diff())
	}
	return b.String()
}

func (r Rewrite) diff() string {
	from, to := diffPath("a/"+r.Path), diffPath("b/"+r.Path)
	header := "diff --git " + from + " " + to + "\n"
	if r.Before == nil { // a new file
		header, from = header+"new file mode 100644\n", "/dev/null"
	}
	before, after := string(r.Before), string(r.After)
	d, err := udiff.ToUnifiedDiff(from, to, before, udiff.Lines(before, after), udiff.DefaultContextLines)
	if err != nil {
		panic("the differ's own edits do not fit: " + err.Error())
	}
	number(d.Hunks)
	return header + d.String()
}

// number corrects where each hunk starts in the new file, which the library gets wrong behind a hunk with several edits.
// git looks for the hunk's context from that line on, and could take a look-alike for it.
func number(hunks []*udiff.Hunk) {
	grown := 0
	for _, h := range hunks {
		h.ToLine = h.FromLine + grown
		for _, l := range h.Lines {
			switch l.Kind {
			case udiff.Insert:
				grown++
			case udiff.Delete:
				grown--
			}
		}
	}
}

// diffPath is a path as git writes it in a diff: quoted where it holds a quote, a backslash or a control character.
func diffPath(p string) string {
	if strings.ContainsAny(p, "\"\\") || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return strconv.Quote(p)
	}
	return p
}
