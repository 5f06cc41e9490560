// Package docs_test holds the pages of the documentation against the repository and the two programs: what they link to is
// there, and the commands that they print are understood.
package docs_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const root = ".."

type page struct {
	path  string // from root, with slashes
	prose string // without what is in fences
	code  []fence
}

// fence is a block of code.
type fence struct{ kind, text string }

// pages are all Markdown files of the repository, but for tools that were installed in it.
func pages(t *testing.T) map[string]page {
	t.Helper()
	all := map[string]page{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.Name() == ".git" || d.Name() == ".tools":
			return fs.SkipDir
		case d.IsDir() || filepath.Ext(path) != ".md":
			return nil
		}
		text, err := os.ReadFile(path)
		name := filepath.ToSlash(strings.TrimPrefix(path, root+string(filepath.Separator)))
		all[name] = parse(name, string(text))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

func parse(path, text string) page {
	p := page{path: path}
	var open *fence
	for line := range strings.Lines(text) {
		kind, isFence := strings.CutPrefix(strings.TrimSpace(line), "```")
		switch {
		case isFence && open == nil:
			open = &fence{kind: kind}
		case isFence:
			p.code, open = append(p.code, *open), nil
		case open != nil:
			open.text += line
		default:
			p.prose += line
		}
	}
	return p
}

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	span    = regexp.MustCompile("`[^`]+`")
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+)$`)
	spoken  = regexp.MustCompile(`[^\p{L}\p{N}_ -]`)
)

// links are the targets of what p links to, in order.
func (p page) links() []string {
	var targets []string
	for _, match := range link.FindAllStringSubmatch(span.ReplaceAllString(p.prose, ""), -1) {
		targets = append(targets, match[1])
	}
	return targets
}

// anchors are the names that GitHub gives to the headings of p.
func (p page) anchors() []string {
	var names []string
	for _, match := range heading.FindAllStringSubmatch(p.prose, -1) {
		text := link.ReplaceAllString(match[1], "]")
		names = append(names, strings.ReplaceAll(spoken.ReplaceAllString(strings.ToLower(text), ""), " ", "-"))
	}
	return names
}

func TestLinks(t *testing.T) {
	all, linked := pages(t), map[string]bool{}
	for _, p := range all {
		for _, target := range p.links() {
			if strings.Contains(target, "://") {
				continue
			}
			file, anchor, _ := strings.Cut(target, "#")
			name := p.path
			if file != "" {
				name = filepath.ToSlash(filepath.Join(filepath.Dir(p.path), file))
				linked[name], linked[name+"/README.md"] = true, true
			}
			if _, err := os.Stat(filepath.Join(root, name)); err != nil {
				t.Errorf("%s links to %s, which is not there", p.path, target)
			} else if anchor != "" && !slices.Contains(all[name].anchors(), anchor) {
				t.Errorf("%s links to %s; the headings of that page are %q", p.path, target, all[name].anchors())
			}
		}
	}
	for name := range all {
		if strings.HasPrefix(name, "docs/") && !linked[name] {
			t.Errorf("no page links to %s", name)
		}
	}
}

// Who reads README in Japanese gets the same commands, examples and links.
func TestLanguages(t *testing.T) {
	all := pages(t)
	english, japanese := all["README.md"], all["README.ja.md"]
	if diff := cmp.Diff(english.code, japanese.code, cmp.AllowUnexported(fence{})); diff != "" {
		t.Errorf("blocks of code: -README.md +README.ja.md\n%s", diff)
	}
	has := func(p page) map[string]bool {
		set := map[string]bool{}
		for _, target := range append(p.links(), span.FindAllString(p.prose, -1)...) {
			set[target] = true
		}
		delete(set, "README.md")
		delete(set, "README.ja.md")
		return set
	}
	if diff := cmp.Diff(has(english), has(japanese)); diff != "" {
		t.Errorf("links and code in the text: -README.md +README.ja.md\n%s", diff)
	}
}
