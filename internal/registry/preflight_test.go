package registry

import (
	"encoding/base64"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestClaimed(t *testing.T) {
	jwt := func(claims string) string {
		return "e30." + base64.RawURLEncoding.EncodeToString([]byte(claims)) + ".sig"
	}
	for _, tt := range []struct {
		token   string
		actions []string
		known   bool
	}{
		{jwt(`{"access":[{"type":"repository","name":"team/app","actions":["push","pull"]}]}`), []string{"pull", "push"}, true},
		{jwt(`{"access":[{"type":"repository","name":"team/other","actions":["push"]},{"type":"registry","name":"team/app","actions":["*"]}]}`), nil, true},
		{jwt(`{"access":[{"type":"repository","name":"team/app","actions":[]}]}`), nil, true},
		{jwt(`{"access":[]}`), nil, true},
		{"opaque", nil, false},
		{"a.b.c", nil, false},
		{jwt("no JSON"), nil, false},
	} {
		actions, known := claimed(tt.token, "team/app")
		if diff := cmp.Diff(tt.actions, actions); diff != "" || known != tt.known {
			t.Errorf("%s: %v, %s", tt.token, known, diff)
		}
	}
}
