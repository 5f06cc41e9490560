package manifest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// source is the content of a file with the byte offset of each line, as the YAML reader counts lines. One that is read
// out of a block scalar of another is the same content and the same lines up to the block's end, from line first on: the
// block is read where it stands, so that places and edits in it are places and edits in the file.
type source struct {
	path  string
	data  []byte
	lines []int
	first int // counted from 0
	keys  *keyIndex
}

// byteOrderMark may start a UTF-8 file; the YAML reader drops it without counting it as a column.
var byteOrderMark = []byte("\xef\xbb\xbf")

func newSource(path string, data []byte) *source {
	s := &source{path: path, data: data, keys: newKeyIndex()}
	start := 0
	if bytes.HasPrefix(data, byteOrderMark) {
		start = len(byteOrderMark)
	}
	s.lines = append(s.lines, start)
	for i := start; i < len(data); {
		n := lineBreak(data[i:])
		if n == 0 {
			i++
			continue
		}
		i += n
		s.lines = append(s.lines, i)
	}
	return s
}

// lineBreak is the length of the line break that b starts with, or 0: the five breaks of YAML 1.1 (section 5.4).
func lineBreak(b []byte) int {
	switch {
	case b[0] == '\n':
		return 1
	case b[0] == '\r':
		if len(b) > 1 && b[1] == '\n' {
			return 2
		}
		return 1
	case b[0] == 0xc2 && len(b) > 1 && b[1] == 0x85:
		return 2
	case b[0] == 0xe2 && len(b) > 2 && b[1] == 0x80 && (b[2] == 0xa8 || b[2] == 0xa9):
		return 3
	}
	return 0
}

// offset is the byte offset of a node, -1 outside the file.
func (s *source) offset(node *yaml.Node) int {
	if node.Line < 1 || node.Line > len(s.lines) {
		return -1
	}
	at := s.lines[node.Line-1] + node.Column - 1
	if at > len(s.data) {
		return -1
	}
	return at
}

// lineAt is the 1-based line of a byte offset.
func (s *source) lineAt(offset int) int {
	low, high := 0, len(s.lines)
	for high-low > 1 {
		if mid := (low + high) / 2; s.lines[mid] <= offset {
			low = mid
		} else {
			high = mid
		}
	}
	return low + 1
}

// lineEnd is the offset of the break that ends the line of offset, or the file's end.
func (s *source) lineEnd(offset int) int {
	for offset < len(s.data) && lineBreak(s.data[offset:]) == 0 {
		offset++
	}
	return offset
}

// eol is the line ending of the line of offset; the last line takes after the first.
func (s *source) eol(offset int) string {
	rest := s.data[offset:]
	if bytes.IndexByte(rest, '\n') < 0 {
		rest = s.data
	}
	if i := bytes.IndexByte(rest, '\n'); i > 0 && rest[i-1] == '\r' {
		return "\r\n"
	}
	return "\n"
}

// SyntaxError says where a file is no YAML. Line is 0 where the YAML reader names none.
type SyntaxError struct {
	Line    int
	Message string
}

func (e *SyntaxError) Error() string { return e.Message }

// documents parses the whole stream.
func (s *source) documents() ([]*yaml.Node, error) {
	if bytes.HasPrefix(s.data, []byte("\xff\xfe")) || bytes.HasPrefix(s.data, []byte("\xfe\xff")) {
		return nil, &SyntaxError{Line: 1, Message: "UTF-16 is not supported: save the file as UTF-8"}
	}
	return s.parse(readable(s.data), 0)
}

// parse reads the documents in text, which is the file's from a line on. Their nodes say the lines of the file, counted
// from 1, and columns in bytes, where the YAML reader counts characters.
func (s *source) parse(text []byte, line int) ([]*yaml.Node, error) {
	var docs []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(unslashed(text))); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, s.syntaxError(err)
		}
		docs = append(docs, &doc)
	}
	if p := (placer{source: s, shift: line}); line > 0 || !ascii(text) {
		for _, doc := range docs {
			p.place(doc)
		}
	}
	return docs, nil
}

func ascii(text []byte) bool {
	for _, b := range text {
		if b >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// placer turns the YAML reader's places into the file's. Nodes come nearly in the order of the file, so that it goes on
// from the node before: a long line is not walked from its start for each of its nodes.
type placer struct {
	*source
	shift        int
	line, column int
	at           int
}

func (p *placer) place(node *yaml.Node) {
	if node.Line += p.shift; node.Line > 0 && node.Line <= len(p.lines) {
		node.Column = p.bytes(node.Line, node.Column) - p.lines[node.Line-1] + 1
	}
	for _, inner := range node.Content {
		p.place(inner)
	}
}

// bytes is the offset of a line and a column in characters.
func (p *placer) bytes(line, column int) int {
	if line != p.line {
		p.line, p.column, p.at = line, 1, p.lines[line-1]
	}
	for ; p.column < column && p.at < len(p.data); p.column++ {
		_, size := utf8.DecodeRune(p.data[p.at:])
		p.at += size
	}
	for ; p.column > column; p.column-- {
		_, size := utf8.DecodeLastRune(p.data[:p.at])
		p.at -= size
	}
	return p.at
}

// readable is data for the YAML reader, which knows 1.2 but refuses the directive that says so: the same length, with
// 1.1 in its place.
func readable(data []byte) []byte {
	at := bytes.Index(data, []byte("%YAML 1.2"))
	if at < 0 || at > 0 && data[at-1] != '\n' {
		return data
	}
	data = bytes.Clone(data)
	data[at+len("%YAML 1.")] = '1'
	return data
}

// syntaxError takes the line out of the YAML reader's message, the only place where it says it, unless it is the first. The
// reader follows YAML 1.1, which lacks an escape that 1.2 took over from JSON.
func (s *source) syntaxError(err error) error {
	if broken := s.notJSON(); broken != nil {
		return broken
	}
	e := &SyntaxError{Message: err.Error()}
	if text, ok := strings.CutPrefix(e.Message, "yaml: "); ok {
		if n, _ := fmt.Sscanf(text, "line %d:", &e.Line); n == 1 {
			_, text, _ = strings.Cut(text, ": ")
		}
		e.Message = "not valid YAML: " + text
	}
	if strings.HasSuffix(e.Message, "found unknown escape character") {
		e.Line = max(e.Line, 1)
		if e.Line <= len(s.lines) && bytes.Contains(s.line(e.Line), escapedSlash) {
			e.Message = `the escape \/ is not supported; write /`
		}
	}
	return e
}

// notJSON says where a file that is JSON by its name is none; nil when it is.
func (s *source) notJSON() error {
	if path.Ext(s.path) != ".json" {
		return nil
	}
	text := bytes.TrimPrefix(s.data, byteOrderMark)
	var syntax *json.SyntaxError
	if !errors.As(json.Unmarshal(text, new(json.RawMessage)), &syntax) {
		return nil
	}
	at := len(s.data) - len(text) + int(syntax.Offset) - 1 // the offset counts the byte, too
	return &SyntaxError{Line: s.lineAt(max(at, 0)), Message: "not valid JSON: " + syntax.Error()}
}
