package fault

import "testing"

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"https://user:S3cret@example.com/a.git#main:sub": "https://example.com/a.git#main:sub",
		"https://S3cret@example.com/a.git":               "https://example.com/a.git",
		"https://example.com/a.tar?token=S3cret":         "https://example.com/a.tar?...",
		"https://example.com/a.git":                      "https://example.com/a.git",
		"git@example.com:a/b.git#main":                   "git@example.com:a/b.git#main",
		"./app?x":                                        "./app?x",
	} {
		if got := Address(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
