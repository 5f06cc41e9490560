package bump

import (
	"fmt"
	"testing"
)

// TestNamesAgree holds the search for many names against the search for one: whatever way a file spells a reference,
// both find it.
func TestNamesAgree(t *testing.T) {
	many := names{many: map[string]bool{"app": true, "web-api": true, "a.b_c": true, "x1": true}}
	for _, base := range []string{"app", "web-api", "a.b_c", "x1"} {
		few := names{few: [][]byte{[]byte(base)}}
		for _, form := range []string{
			"image: team/%s:1", "image: %s", "%s", "image: \"r.io:5000/%s@sha256:0\"", "{image: %s,tag: 1}", "[%s]", "- %s\r\n", "'%s'", "\t%s#",
			"image: テスト/%s:1", "a=%s;b", "{\"image\":\"%s\"}",
		} {
			data := fmt.Appendf(nil, form, base)
			if !few.in(data) || !many.in(data) {
				t.Errorf("%s: few %v, many %v", data, few.in(data), many.in(data))
			}
		}
	}
	for _, data := range []string{"", "image: apps:1", "my-app", "app-worker", "web", "api", "APP"} {
		if many.in([]byte(data)) {
			t.Errorf("%q holds none of the names", data)
		}
	}
	if !(names{}).in([]byte("anything")) {
		t.Error("without names every file counts")
	}
}
