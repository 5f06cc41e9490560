package manifest

import (
	"bytes"
	"encoding/json"
)

// escapedSlash is the escape that JSON (RFC 8259, section 7) and YAML 1.2 have and YAML 1.1, which the YAML reader follows,
// has not. PHP writes every slash so.
var escapedSlash = []byte(`\/`)

// unslashed is JSON for the YAML reader: the same length and the same places, with "/" for each escaped slash, and for each
// that is left out a space behind the string. What is no JSON stays as it is.
func unslashed(text []byte) []byte {
	if !bytes.Contains(text, escapedSlash) || !json.Valid(bytes.TrimPrefix(text, byteOrderMark)) {
		return text
	}
	out := bytes.Clone(text)
	for at := 0; ; {
		quote := bytes.IndexByte(text[at:], '"')
		if quote < 0 {
			return out
		}
		start := at + quote
		at = closing(text, start+1, '"') + 1
		token := unescaped(text[start:at])
		padding := at - start - len(token)
		copy(out[start:], append(token, bytes.Repeat([]byte(" "), padding)...))
	}
}

// unescaped is a string of JSON without escaped slashes.
func unescaped(token []byte) []byte {
	out := make([]byte, 0, len(token))
	for i := 0; i < len(token); i++ {
		switch {
		case token[i] != '\\':
			out = append(out, token[i])
		case token[i+1] == '/':
			i++
			out = append(out, '/')
		default:
			out = append(out, token[i], token[i+1])
			i++
		}
	}
	return out
}
