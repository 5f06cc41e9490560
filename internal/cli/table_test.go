package cli

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTable(t *testing.T) {
	c := &Console{Streams: Streams{Out: new(bytes.Buffer), Getenv: func(string) string { return "" }}}
	got := c.Table([][]Cell{
		{{Text: "WHERE", Style: Strong}, {Text: "WHAT"}, {Text: "NOTE"}},
		{{Text: "日本/値.yaml"}, {Text: "a"}, {}},
		nil,
		{{Text: "x"}, {}, {Text: "two\nlines \x1b[31m"}},
	})
	want := "WHERE         WHAT  NOTE\n" +
		"日本/値.yaml  a\n" +
		"\n" +
		"x                   two lines \ufffd[31m\n"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if c.Table(nil) != "" {
		t.Error("no rows are no text")
	}
}
