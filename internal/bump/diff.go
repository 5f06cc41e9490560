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
		from, to := diffPath("a/"+r.Path), diffPath("b/"+r.Path)
		b.WriteString("diff --git " + from + " " + to + "\n")
		b.WriteString(udiff.Unified(from, to, string(r.Before), string(r.After)))
	}
	return b.String()
}

// diffPath is a path as git writes it in a diff: quoted where it holds a quote, a backslash or a control character.
func diffPath(p string) string {
	if strings.ContainsAny(p, "\"\\") || strings.ContainsFunc(p, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return strconv.Quote(p)
	}
	return p
}
