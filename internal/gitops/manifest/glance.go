package manifest

import "bytes"

// MayName reports whether Find may find a site in data, at the price of a search for two words: whatever names an image has
// a key, or the path of a patch, with "image" or "repository" in it. A backslash may spell a letter of one. Files of which
// rules ask for more are not told apart.
func MayName(data []byte, rules Rules) bool {
	return rules.Include || len(rules.Fields) > 0 || bytes.IndexByte(data, '\\') >= 0 ||
		holdsWord(data, "image", 'g') || holdsWord(data, "repository", 'y')
}

// holdsWord reports whether data holds a lower-case word in whatever case. One of its letters that is rare leads to it.
func holdsWord(data []byte, word string, rare byte) bool {
	at := bytes.IndexByte([]byte(word), rare)
	for _, letter := range []byte{rare, rare - 'a' + 'A'} {
		for from := 0; ; {
			i := bytes.IndexByte(data[from:], letter)
			if i < 0 {
				break
			}
			start := from + i - at
			if start >= 0 && start+len(word) <= len(data) && bytes.EqualFold(data[start:start+len(word)], []byte(word)) {
				return true
			}
			from += i + 1
		}
	}
	return false
}
