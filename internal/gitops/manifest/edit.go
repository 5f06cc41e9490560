package manifest

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
)

// Edit replaces the bytes [Start,End) of File, which are Old, by New.
type Edit struct {
	File       string
	Start, End int
	Old, New   string
}

func (s *source) edit(start, end int, text string) Edit {
	return Edit{File: s.path, Start: start, End: end, Old: string(s.data[start:end]), New: text}
}

// Apply is data with all edits made, and not one other byte touched. Equal edits count once. It is an error when two
// edits overlap, or when the bytes to be replaced are not the edit's Old.
func Apply(data []byte, edits []Edit) ([]byte, error) {
	edits = slices.Clone(edits)
	slices.SortFunc(edits, func(a, b Edit) int {
		return cmp.Or(cmp.Compare(a.Start, b.Start), cmp.Compare(a.End, b.End), cmp.Compare(a.New, b.New))
	})
	edits = slices.Compact(edits)
	var out bytes.Buffer
	at := 0
	for i, e := range edits {
		switch {
		case e.Start < at || e.End < e.Start || e.End > len(data) || i > 0 && e.Start == edits[i-1].Start:
			return nil, fmt.Errorf("%s: edits overlap at byte %d", e.File, e.Start)
		case string(data[e.Start:e.End]) != e.Old:
			return nil, fmt.Errorf("%s: byte %d is %q, not %q: the file has changed", e.File, e.Start, data[e.Start:e.End], e.Old)
		}
		out.Write(data[at:e.Start])
		out.WriteString(e.New)
		at = e.End
	}
	out.Write(data[at:])
	return out.Bytes(), nil
}
