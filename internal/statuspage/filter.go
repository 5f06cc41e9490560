package statuspage

import (
	"net/http"
	"slices"
	"strings"
)

// filter is which images to show: those of a mark, and those in which all words of a text occur. page.js decides the same.
type filter struct{ Show, Text string }

func filterOf(r *http.Request) filter {
	f := filter{Show: r.URL.Query().Get("show"), Text: strings.TrimSpace(r.URL.Query().Get("q"))}
	if !slices.Contains([]string{string(due), string(held), string(failing)}, f.Show) {
		f.Show = ""
	}
	return f
}

// filtered are the images with those hidden that the filter leaves out.
func (m images) filtered(f filter) images {
	m.Rows = slices.Clone(m.Rows)
	for i := range m.Rows {
		m.Rows[i].Hidden = !f.shows(m.Rows[i])
	}
	return m
}

func (f filter) shows(r row) bool {
	if f.Show != "" && !slices.Contains(strings.Fields(r.Marks), f.Show) {
		return false
	}
	text := []string{r.Name, r.Policy, r.Origin, r.Newest, r.Why, r.Err, r.Hint}
	for _, p := range r.Places {
		text = append(text, p.File, p.Application, p.Current, p.Hold)
	}
	all := strings.ToLower(strings.Join(text, "\n"))
	return !slices.ContainsFunc(strings.Fields(strings.ToLower(f.Text)), func(word string) bool { return !strings.Contains(all, word) })
}
