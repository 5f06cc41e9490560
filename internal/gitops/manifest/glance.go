package manifest

import "bytes"

// MayName reports whether Find may find a site in data, at the price of a search for two words: whatever names an image has
// a key, or the path of a patch, with "image" or "repository" in it. A backslash may spell a letter of one. Files of which
// rules ask for more are not told apart.
func MayName(data []byte, rules Rules) bool {
	if rules.Include || len(rules.Fields) > 0 || bytes.IndexByte(data, '\\') >= 0 {
		return true
	}
	lower := bytes.ToLower(data)
	return bytes.Contains(lower, []byte("image")) || bytes.Contains(lower, []byte("repository"))
}
