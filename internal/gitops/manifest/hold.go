package manifest

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxReason is how many characters the reason of a hold may have: it stands on the line of a value.
const maxReason = 200

// CheckReason refuses what no comment can say as the reason of a hold, so that it reads back as it is. No reason is one, too.
func CheckReason(reason string) error {
	switch {
	case !utf8.ValidString(reason):
		return errors.New("is not UTF-8 text")
	case utf8.RuneCountInString(reason) > maxReason:
		return fmt.Errorf("is longer than %d characters", maxReason)
	case strings.ContainsFunc(reason, func(r rune) bool { return !unicode.IsGraphic(r) }):
		return errors.New("has a line break or another character that cannot be seen")
	case strings.TrimSpace(reason) != reason:
		return errors.New("has space around it")
	}
	line := []byte("image: a" + holdComment(reason))
	said := remarks(line)
	if len(said) != 1 || said[0].text != strings.TrimSpace("hold "+reason) || markerComment.Match(line) {
		return errors.New("says something to imgbump itself, or to another tool")
	}
	if read, _ := said[0].hold(); read != reasonRead(reason) {
		return fmt.Errorf("would be read as %q", read)
	}
	return nil
}

// holdComment is the comment with a space in front of it.
func holdComment(reason string) string { return strings.TrimRight(" # imgbump: hold "+reason, " ") }

// reasonRead is what a Site's Hold says for a reason.
func reasonRead(reason string) string {
	if reason == "" {
		return "hold"
	}
	return reason
}

// Commented is what a comment about one site comes to: the edits, or why there is no place for it.
type Commented struct {
	Edits []Edit
	Err   error
}

// HoldBack writes comments that hold sites of a file back, for a reason that CheckReason lets pass: those chosen among what Find
// finds, in that order. A comment goes to the end of the line with the version, or above that line when other tools' comments stand there. It
// is an error when the file would not be the same but for that.
func HoldBack(path string, data []byte, rules Rules, chosen []int, reason string) ([]Commented, error) {
	return comment(path, data, rules, chosen, reasonRead(reason), func(c *commenter, site Site) ([]Edit, error) {
		return c.hold(site, holdComment(reason))
	})
}

// Release takes the comments away that hold the chosen sites back. It is an error when the file would not be the same but for
// that.
func Release(path string, data []byte, rules Rules, chosen []int) ([]Commented, error) {
	return comment(path, data, rules, chosen, "", (*commenter).release)
}

// errMore is why there is no comment where it would be a part of a value, or break the file.
var errMore = errors.New("more than a comment would change there")

// comment makes the edits for each of the chosen sites, and makes sure that all of them leave the file as it is, but for what
// holds these sites.
func comment(path string, data []byte, rules Rules, chosen []int, hold string, edit func(*commenter, Site) ([]Edit, error)) ([]Commented, error) {
	sites, err := Find(path, data, rules)
	if err != nil {
		return nil, err
	}
	c := newCommenter(newSource(path, data), sites, chosen)
	made := make([]Commented, len(chosen))
	for n, i := range chosen {
		made[n].Edits, made[n].Err = edit(c, sites[i])
	}
	refuse(data, made)
	for n, i := range chosen {
		if made[n].Err == nil {
			sites[i].Hold = hold
		}
	}
	all := editsOf(made)
	after, err := Apply(data, all)
	if err != nil {
		return nil, err
	}
	if found, err := Find(path, after, rules); err != nil || !slices.EqualFunc(sites, found, sameSite) || !sameYAML(data, after) {
		return nil, fmt.Errorf("%w; the file is left alone", errMore)
	}
	return made, nil
}

// maxRefused is the longest list of comments among which those are searched for that are more than comments: each is tried, and
// the file read for it.
const maxRefused = 100

// refuse takes the comments out that would be more than that, so that they keep nothing from the others.
func refuse(data []byte, made []Commented) {
	if len(made) > maxRefused || justComments(data, editsOf(made)) {
		return
	}
	for n, m := range made {
		if m.Err == nil && !justComments(data, m.Edits) {
			made[n] = Commented{Err: errMore}
		}
	}
}

// justComments reports whether the edits change comments alone.
func justComments(data []byte, edits []Edit) bool {
	after, err := Apply(data, edits)
	return err == nil && sameYAML(data, after)
}

func editsOf(made []Commented) (all []Edit) {
	for _, m := range made {
		all = append(all, m.Edits...)
	}
	return all
}

// sameSite reports whether two sites are alike but for their places in the file.
func sameSite(a, b Site) bool {
	return a.Doc == b.Doc && a.Field == b.Field && a.Ref == b.Ref && a.Replaces == b.Replaces && a.Shape == b.Shape && a.Object == b.Object &&
		a.Hold == b.Hold && a.Marker == b.Marker && a.NameMarked == b.NameMarked && a.Rule == b.Rule
}

// commenter writes comments about some sites of a file.
type commenter struct {
	src    *source
	others map[int]error  // why the comments about a line must stay as they are: they are about other sites, too
	made   map[int][]Edit // the edits for the comments about a line, once they are made
}

func newCommenter(src *source, sites []Site, chosen []int) *commenter {
	c := &commenter{src, map[int]error{}, map[int][]Edit{}}
	for i, site := range sites {
		if _, is := slices.BinarySearch(chosen, i); is {
			continue
		}
		for _, line := range site.about {
			if c.others[line] == nil {
				c.others[line] = fmt.Errorf("line %d is about %s, too", line, site.Ref.Name())
			}
		}
	}
	return c
}

// errJSON is why JSON has no comments.
var errJSON = errors.New("JSON has no place for a comment")

// hold puts the comment on the line of the site's version, or on that of another of its values.
func (c *commenter) hold(site Site, comment string) ([]Edit, error) {
	if strings.HasSuffix(strings.ToLower(site.File), ".json") {
		return nil, errJSON
	}
	lines := []int{site.Line}
	for _, v := range site.write.values() {
		if line := c.src.lineAt(v.start); slices.Contains(site.about, line) {
			lines = append(lines, line)
		}
	}
	var refused error
	for _, line := range lines {
		err := c.others[line]
		if err == nil {
			if c.made[line] == nil {
				c.made[line] = []Edit{c.place(line, comment)}
			}
			return c.made[line], nil
		}
		if refused == nil {
			refused = err
		}
	}
	return nil, refused
}

// anyComment begins a comment, as far as a look at the line alone can tell.
var anyComment = regexp.MustCompile(`(?:^|\s)#`)

// place puts a comment at the end of a line; where a comment for others stands, above it and the comments over it, so that it
// stays as it is and where it is.
func (c *commenter) place(line int, comment string) Edit {
	text := c.src.line(line)
	said := remarks(text)
	for _, at := range anyComment.FindAllIndex(text, -1) {
		if !slices.ContainsFunc(said, func(r remark) bool { return r.start < at[1] && at[1] <= r.end }) {
			return c.above(line, comment)
		}
	}
	end := c.src.lines[line-1] + len(strings.TrimRight(string(text), whitespace))
	return c.src.edit(end, end, comment)
}

// above puts a comment on a line of its own, above those that are comments alone and stand as far in as the line.
func (c *commenter) above(line int, comment string) Edit {
	text := string(c.src.line(line))
	indent := text[:len(text)-len(strings.TrimLeft(text, " \t"))]
	for line > 1 && strings.HasPrefix(string(c.src.line(line-1)), indent+"#") {
		line--
	}
	at := c.src.lines[line-1]
	return c.src.edit(at, at, indent+strings.TrimLeft(comment, " ")+c.src.eol(at))
}

// release takes away what holds the site on the lines that are about it, and above them.
func (c *commenter) release(site Site) ([]Edit, error) {
	var edits []Edit
	for _, line := range slices.Compact(slices.Sorted(slices.Values(site.about))) {
		found, known := c.made[line]
		if !known {
			for n := line; n > 0 && (n == line || blankLine.Match(c.src.line(n))); n-- {
				found = append(found, c.without(n)...)
			}
			c.made[line] = found
		}
		if err := c.others[line]; err != nil && len(found) > 0 {
			return nil, err
		}
		edits = append(edits, found...)
	}
	return edits, nil
}

// without takes what holds back out of a line; the whole line when there is nothing else in it.
func (c *commenter) without(line int) (edits []Edit) {
	text, at := string(c.src.line(line)), c.src.lines[line-1]
	for _, r := range remarks([]byte(text)) {
		if _, holds := r.hold(); !holds {
			continue
		}
		before, after := strings.TrimRight(text[:r.start], whitespace), strings.TrimLeft(text[r.end:], whitespace)
		switch {
		case before != "":
			edits = append(edits, c.src.edit(at+len(before), at+r.end, ""))
		case after != "":
			edits = append(edits, c.src.edit(at+r.start, at+len(text)-len(after), ""))
		default:
			end := len(c.src.data)
			if line < len(c.src.lines) {
				end = c.src.lines[line]
			}
			edits = append(edits, c.src.edit(at, end, ""))
		}
	}
	return edits
}
