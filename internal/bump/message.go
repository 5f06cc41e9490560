package bump

import (
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/template"
	"unicode"
	"unicode/utf8"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
	"github.com/ksera524/imgbump/internal/gitops/trailer"
	"github.com/ksera524/imgbump/internal/imageref"
)

// defaultMessage is the template of a commit's message.
const defaultMessage = defaultSubject + `{{.Summary}}
{{range .Images}}
{{.Image}}:
{{- range .Changes}}
- {{.File}}:{{.Line}} {{.From}} -> {{.To}}
{{- end}}
{{end}}`

const defaultSubject = "chore(images): bump "

const (
	maxSubject = 72     // bytes of the default message's first line: what git log and GitHub show whole
	maxMessage = 60_000 // bytes; GitHub takes 65,536 characters
)

// Message is the template of a commit's message with the trailers that it gets; the zero Message is the default one.
type Message struct {
	template *template.Template // nil is the default
	trailers []string
}

// variables are what a message template may use. AppName and AppChanges are those of Argo CD Image Updater's templates,
// Changed is that of Flux's ImageUpdateAutomation.
type variables struct {
	Summary    string // "rss to 1.5.0", or "3 images"
	Images     []imageChanges
	Files      []string
	AppName    string // the applications that deploy the files, "" when none is known
	AppChanges []appChange
	Changed    changed
}

// known is what a template may name, for the person who named something else.
const known = "a template may name .Summary, .Files, .Images (.Image, .Changes: .File .Line .From .To), .AppName, " +
	".AppChanges (.Image .OldTag .NewTag .Labels), .Changed (.Changes, .Objects, .FileChanges: .OldValue .NewValue), " +
	"and the functions join and short"

// functions are what a template may call beside text/template's own.
var functions = template.FuncMap{
	"join":  func(separator string, list []string) string { return strings.Join(list, separator) },
	"short": short,
}

var defaultTemplate = template.Must(newTemplate(defaultMessage))

func newTemplate(text string) (*template.Template, error) {
	return template.New("message").Funcs(functions).Parse(text)
}

// ParseMessage reads a text/template over the variables that its errors list; "" is the default. The trailers, each
// "Key: value", go with the message. Errors are of kind Usage.
func ParseMessage(text string, trailers ...string) (Message, error) {
	for _, t := range trailers {
		if !trailer.Valid(t) {
			return Message{}, fault.Usagef("for example: 'Reviewed-by: Ann Ops <ann@example.com>'", "trailer %q is no 'Key: value'", t)
		}
	}
	m := Message{trailers: trailers}
	if text == "" {
		return m, nil
	}
	if !utf8.ValidString(text) || strings.ContainsRune(text, 0) {
		return Message{}, fault.Usagef("save it as UTF-8", "message template: it is not UTF-8 text")
	}
	var err error
	if m.template, err = newTemplate(text); err == nil {
		_, err = m.render(Plan{Changes: []Change{{
			Site: manifest.Site{File: "a.yaml"}, Line: 1, Application: "app",
			From: imageref.Ref{Repository: "app", Tag: "1"}, To: imageref.Ref{Repository: "app", Tag: "2"},
		}}})
	} else {
		err = notTemplate(err)
	}
	return m, err
}

// NamesApplications reports whether the message tells the Argo CD applications.
func (m Message) NamesApplications() bool {
	return m.template != nil && strings.Contains(m.template.Root.String(), ".AppName")
}

// render is the message for the plan, as git commit would clean it up.
func (m Message) render(p Plan) (string, error) {
	v := variablesOf(p)
	switch {
	case m.template != nil:
	case p.Hold != nil:
		m.template, v.Summary = holdTemplate, p.Hold.opening()
	default:
		in := ""
		if p.application != "" {
			in = fitting(" in "+printable(p.application), (maxSubject-len(defaultSubject))/2)
		}
		m.template, v.Summary = defaultTemplate, fitting(v.Summary, maxSubject-len(defaultSubject)-len(in))+in
	}
	var b strings.Builder
	if err := m.template.Execute(&b, v); err != nil {
		return "", notTemplate(err)
	}
	text := tidy(b.String())
	if text == "" {
		return "", fault.Usagef("give it some text", "message template: it renders to nothing")
	}
	return trailer.Add(bounded(text), append(slices.Clone(m.trailers), trailer.Mark)...), nil
}

// imageChanges are the changes that lead to one repository.
type imageChanges struct {
	Image   string
	Changes []line
}

// line is one change; From and To are versions: a tag, a digest, or both.
type line struct {
	File, From, To string
	Line           int
}

// appChange is an image's change, named once. The tags are full digests where there is no tag, or the tag stays. Labels
// are always empty: the image's are not read.
type appChange struct {
	Image, OldTag, NewTag string
	Labels                map[string]string
}

// changed are the changes by file and by object, with whole references.
type changed struct {
	FileChanges map[string]map[manifest.Object][]valueChange
	Objects     map[manifest.Object][]valueChange
	Changes     []valueChange
}

type valueChange struct{ OldValue, NewValue string }

func variablesOf(p Plan) variables {
	v := variables{Summary: p.Summary(), Changed: changed{
		FileChanges: map[string]map[manifest.Object][]valueChange{}, Objects: map[manifest.Object][]valueChange{},
	}}
	var applications []string
	for _, c := range p.Changes {
		file := printable(c.Site.File)
		if !slices.Contains(v.Files, file) {
			v.Files = append(v.Files, file)
			v.Changed.FileChanges[file] = map[manifest.Object][]valueChange{}
		}
		for name := range strings.SplitSeq(c.Application, applicationSeparator) {
			if name != "" && !slices.Contains(applications, name) {
				applications = append(applications, name)
			}
		}
		v.addImage(c, file)
		v.addAppChange(c)
		change, object := valueChange{c.From.String(), c.To.String()}, c.Site.Object
		byObject := v.Changed.FileChanges[file]
		byObject[object] = append(byObject[object], change)
		v.Changed.Objects[object] = append(v.Changed.Objects[object], change)
		v.Changed.Changes = append(v.Changed.Changes, change)
	}
	v.AppName = strings.Join(applications, applicationSeparator)
	return v
}

func (v *variables) addImage(c Change, file string) {
	name := c.To.Name()
	i := slices.IndexFunc(v.Images, func(g imageChanges) bool { return g.Image == name })
	if i < 0 {
		i, v.Images = len(v.Images), append(v.Images, imageChanges{Image: name})
	}
	from := VersionOf(c.From)
	if !c.From.Same(c.To) {
		from = c.From.String()
	}
	v.Images[i].Changes = append(v.Images[i].Changes, line{File: file, Line: c.Line, From: from, To: VersionOf(c.To)})
}

func (v *variables) addAppChange(c Change) {
	change := appChange{Image: c.To.Name(), OldTag: cmp.Or(c.From.Tag, c.From.Digest), NewTag: cmp.Or(c.To.Tag, c.To.Digest)}
	if c.To.Digest != "" && c.From.Tag == c.To.Tag {
		change.OldTag, change.NewTag = cmp.Or(c.From.Digest, c.From.Tag), c.To.Digest
	}
	same := func(other appChange) bool {
		return other.Image == change.Image && other.OldTag == change.OldTag && other.NewTag == change.NewTag
	}
	if !slices.ContainsFunc(v.AppChanges, same) {
		v.AppChanges = append(v.AppChanges, change)
	}
}

// printable is a path as a message shows it: one with control characters is quoted, so that it stays on its line.
func printable(path string) string {
	if strings.ContainsFunc(path, unicode.IsControl) || !utf8.ValidString(path) {
		return strconv.Quote(path)
	}
	return path
}

// fitting is a summary in at most limit bytes: without most of a long hash, else without the version.
func fitting(summary string, limit int) string {
	if len(summary) > limit {
		summary = short(summary)
	}
	if name, _, ok := strings.Cut(summary, " to "); ok && len(summary) > limit {
		summary = name
	}
	if len(summary) > limit {
		return summary[:limit-3] + "..."
	}
	return summary
}

// tidy is text without space at the ends of its lines, blank lines around it, and more than one between paragraphs
// (git-stripspace).
func tidy(text string) string {
	var lines []string
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, " \t\r\n")
		if line != "" || len(lines) > 0 && lines[len(lines)-1] != "" {
			lines = append(lines, line)
		}
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n")
}

// bounded cuts the text of a message that would be too long, not its trailers.
func bounded(message string) string {
	text, block := trailer.Cut(message)
	limit := max(0, maxMessage-len(block))
	if len(text) <= limit {
		return message
	}
	cut := text[:limit]
	if end := strings.LastIndexByte(cut, '\n'); end > 0 {
		cut = cut[:end]
	}
	more := strings.Count(text[len(cut):], "\n")
	return fmt.Sprintf("%s\n\nand %d more lines\n\n%s", strings.ToValidUTF8(cut, ""), more, block)
}

// Where text/template says that something went wrong, and of what.
var (
	templatePlace = regexp.MustCompile(`^template: message:(\d+)(?::(\d+))?: (?:executing .*? at <.*?>: )?`)
	unknownField  = regexp.MustCompile(`can't evaluate field (\w+) in type .*`)
)

// notTemplate says where a template is wrong, in the words of a person who does not read Go.
func notTemplate(err error) error {
	text := err.Error()
	place := ""
	if at := templatePlace.FindStringSubmatch(text); at != nil {
		text, place = text[len(at[0]):], "line "+at[1]
		if at[2] != "" {
			place += ", column " + at[2]
		}
	}
	text = unknownField.ReplaceAllString(text, "there is no .$1 here")
	return &fault.Error{Kind: fault.Usage, What: "message template", Where: place, Hint: known, Err: errors.New(text)}
}

// VersionOf is the tag and digest of ref as a person reads them, with the digest cut to what tells it apart.
func VersionOf(ref imageref.Ref) string {
	digest := short(ref.Digest)
	switch {
	case ref.Tag != "" && digest != "":
		return ref.Tag + "@" + digest
	case !ref.Versioned():
		return "no version"
	}
	return ref.Tag + digest
}

// digestShown is how many hex digits of a digest or commit a message shows.
const digestShown = 12

var hash = regexp.MustCompile(`[0-9a-f]{40,}`)

// short is text with its hashes, of commits and digests, cut to what tells them apart.
func short(text string) string {
	return hash.ReplaceAllStringFunc(text, func(h string) string { return h[:digestShown] })
}
