package repo

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
)

// A server's words are cut short before they fill memory, and cannot drive a terminal or a runner.
func TestServersWords(t *testing.T) {
	var said snippet
	for range 3 {
		if n, err := said.Write(make([]byte, 400)); n != 400 || err != nil {
			t.Fatal(n, err)
		}
	}
	if len(said) != maxSaid {
		t.Errorf("kept %d bytes", len(said))
	}
	err := (&server{url: "URL"}).explain(t.Context(), errors.Join(errors.New("\x1b[31m\u009b\n::error::no"), fs.ErrExist))
	if want := "reach URL: [31m ::error::no file already exists"; err.Error() != want || !errors.Is(err, fs.ErrExist) {
		t.Errorf("got %q, want %q", err, want)
	}
	if text := printable(strings.Repeat("é", maxSaid)); len(text) > maxSaid || !strings.HasSuffix(text, "é") {
		t.Errorf("cut to %q", text)
	}
	if text := printable("x" + strings.Repeat("é", maxSaid)); !strings.HasSuffix(text, "é") {
		t.Errorf("cut within a character: %q", text)
	}
}
