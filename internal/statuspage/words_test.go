package statuspage

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestWords: both languages have the same phrases with the same arguments, and all that are used.
func TestWords(t *testing.T) {
	keys := slices.Sorted(maps.Keys(english))
	if diff := cmp.Diff(keys, slices.Sorted(maps.Keys(japanese))); diff != "" {
		t.Errorf("-english +japanese:\n%s", diff)
	}
	verbs := regexp.MustCompile(`%(?:\[\d\])?s`)
	for _, key := range keys {
		_, many, ok := strings.Cut(english[key], "|")
		if !ok {
			many = english[key]
		}
		if len(verbs.FindAllString(many, -1)) != len(verbs.FindAllString(japanese[key], -1)) {
			t.Errorf("%s: %q and %q take other arguments", key, many, japanese[key])
		}
		if key != "comma" && key != "stop" && english[key] != "imgbump" && english[key] == japanese[key] {
			t.Errorf("%s is the same in both", key)
		}
	}
	used := map[string]bool{}
	for _, name := range []string{"assets/page.html", "assets/regions.html", "language.go", "actions.go"} {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range regexp.MustCompile(`(?:\bt|word\(|\{) ?"([a-z ]+)"`).FindAllStringSubmatch(string(text), -1) {
			used[m[1]] = true
		}
	}
	for _, key := range []string{"idle", "queued", "running", "failing", "due", "held", "none", "current", "done update", "done hold", "done release"} {
		used[key] = true
	}
	for _, key := range keys {
		if !used[key] {
			t.Errorf("nobody says %q", key)
		}
		delete(used, key)
	}
	for key := range used {
		if !strings.HasSuffix(key, " ") && key != "message" {
			t.Errorf("no word %q", key)
		}
	}
}
