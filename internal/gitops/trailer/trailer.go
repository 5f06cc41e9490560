// Package trailer adds "Key: value" lines to a commit's message where git looks for them: in its last paragraph.
package trailer

import (
	"slices"
	"strings"
)

// Mark is the trailer of every commit that imgbump makes: a workflow that one starts can stop by it, and a branch that ends
// with one may be replaced.
const Mark = "Imgbump: v1"

// Marked reports whether a message is that of a commit of ours.
func Marked(message string) bool {
	_, block := Cut(message)
	return slices.Contains(strings.Split(block, "\n"), Mark)
}

// Valid reports whether line is one that git takes for a trailer: a key of letters, digits and dashes, a colon, a value.
func Valid(line string) bool {
	key, value, found := strings.Cut(line, ":")
	return found && isKey(key) && strings.TrimSpace(value) != "" && !strings.ContainsAny(line, "\r\n\x00")
}

// isKey reports whether text can stand before a trailer's colon.
func isKey(text string) bool {
	text = strings.TrimRight(text, " \t")
	return text != "" && !strings.ContainsFunc(text, func(c rune) bool {
		return c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z')
	})
}

// Add ends a message with the given trailers, in its block of trailers if it has one, else in a paragraph of their own.
// What the block already says is not said again. The result ends with a newline.
func Add(message string, trailers ...string) string {
	message = strings.TrimRight(message, "\n")
	text, block := Cut(message)
	lines := strings.Split(block, "\n")
	for _, t := range trailers {
		switch {
		case slices.Contains(lines, t):
		case block == "":
			block, lines = t, []string{t}
		default:
			block, lines = block+"\n"+t, append(lines, t)
		}
	}
	if block == "" {
		return text + "\n"
	}
	return text + "\n\n" + block + "\n"
}

// generated begin the lines that git itself adds; a paragraph with one may hold other text than trailers, too.
var generated = []string{"Signed-off-by: ", "(cherry picked from commit "}

// Cut separates the block of trailers from the text before it; it is "" when there is none. The block is the last
// paragraph, never the first, when it holds nothing but trailers, or when a line is git's own and a quarter are trailers
// (git-interpret-trailers, "DESCRIPTION").
func Cut(message string) (text, block string) {
	message = strings.TrimRight(message, "\n")
	at := strings.LastIndex(message, "\n\n")
	if at < 0 {
		return message, ""
	}
	trailers, others, continued, ours := 0, 0, 0, false
	lines := strings.Split(message[at+2:], "\n")
	for _, line := range slices.Backward(lines) {
		key, _, found := strings.Cut(line, ":")
		own := slices.ContainsFunc(generated, func(prefix string) bool { return strings.HasPrefix(line, prefix) })
		switch {
		case strings.HasPrefix(line, "#"): // a comment to git
			others, continued = others+continued, 0
		case own || found && isKey(key) && !isSpace(line[0]):
			trailers, continued, ours = trailers+1, 0, ours || own
		case line != "" && isSpace(line[0]): // part of the trailer above it, should there be one
			continued++
		default:
			others, continued = others+1+continued, 0
		}
	}
	others += continued
	if ours && trailers*3 >= others || trailers > 0 && others == 0 {
		return strings.TrimRight(message[:at], "\n"), message[at+2:]
	}
	return message, ""
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' }
