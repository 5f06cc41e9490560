package prune

import (
	"path"
	"regexp"
	"strings"
)

// mention is the name of the project in a line, with what stands before and after it.
type mention struct {
	before, after string
	workflow      bool // of GitHub's: it builds images more than it runs them
}

// isWorkflow reports whether a file belongs to GitHub's workflows.
func isWorkflow(p string) bool { return strings.Contains("/"+path.Dir(p)+"/", "/.github/") }

var (
	folderName = regexp.MustCompile(`^([A-Za-z0-9_-]+|\.\.?)$`)
	imageKey   = regexp.MustCompile(`^\s*(- )?["']?(image|container)["']?:`)
	prefixKey  = regexp.MustCompile(`(?i)registry|repo|image|prefix|harbor|oci:`)
	keyEnd     = regexp.MustCompile(`^["']?\s*[:=]`)
)

// isWord reports whether the name stands alone, and is not a part of another.
func (m mention) isWord() bool {
	return (m.before == "" || !wordByte(m.before[len(m.before)-1])) && (m.after == "" || !wordByte(m.after[0]))
}

// isImage reports whether the name may be that of an image: not a part of a web or git address, nor of a path of folders.
func (m mention) isImage() bool {
	if m.workflow && !imageKey.MatchString(m.before) {
		return false
	}
	word := m.word()
	if scheme, _, found := strings.Cut(word, "://"); found {
		return scheme == "oci" || scheme == "docker"
	}
	first, _, below := strings.Cut(word, "/")
	return !strings.Contains(word, "@") && !(below && first != "localhost" && folderName.MatchString(first))
}

// isPrefix reports whether the project alone, behind a host, is what names of images begin with: not the key of a label.
func (m mention) isPrefix() bool {
	return !keyEnd.MatchString(m.after) && strings.HasSuffix(m.word(), "/") && prefixKey.MatchString(m.before)
}

// word is what stands before the name without a blank or a quote between.
func (m mention) word() string { return m.before[strings.LastIndexAny(m.before, " \t\"'`=,;|([<>")+1:] }

// wordByte reports whether b may be part of a component of a name.
func wordByte(b byte) bool {
	return b == '-' || b == '_' || b == '.' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z'
}
