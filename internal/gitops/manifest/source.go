package manifest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"sigs.k8s.io/kustomize/kyaml/yaml"
)

// source is the content of a file with the byte offset of each line, as the YAML reader counts lines.
type source struct {
	path  string
	data  []byte
	lines []int
}

// byteOrderMark may start a UTF-8 file; the YAML reader drops it without counting it as a column.
var byteOrderMark = []byte("\xef\xbb\xbf")

func newSource(path string, data []byte) *source {
	s := &source{path: path, data: data}
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

// offset is the byte offset of a 1-based line and column; columns count characters. It is -1 outside the file.
func (s *source) offset(line, column int) int {
	if line < 1 || line > len(s.lines) {
		return -1
	}
	at := s.lines[line-1]
	for range column - 1 {
		if at >= len(s.data) {
			return -1
		}
		_, size := utf8.DecodeRune(s.data[at:])
		at += size
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
	var docs []*yaml.Node
	for dec := yaml.NewDecoder(bytes.NewReader(readable(s.data))); ; {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, nil
		}
		if err != nil {
			return nil, syntaxError(err)
		}
		docs = append(docs, &doc)
	}
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

// syntaxError takes the line out of the YAML reader's message, the only place where it says it.
func syntaxError(err error) error {
	e := &SyntaxError{Message: err.Error()}
	var rest string
	if n, _ := fmt.Sscanf(e.Message, "yaml: line %d: %s", &e.Line, &rest); n == 2 {
		_, after, _ := bytes.Cut([]byte(e.Message), fmt.Appendf(nil, "line %d: ", e.Line))
		e.Message = "not valid YAML: " + string(after)
	}
	return e
}
