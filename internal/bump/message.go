package bump

import (
	"slices"
	"strings"
	"text/template"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Trailer marks our own commits, so that a workflow that they start can stop.
const Trailer = "Imgbump: v1"

// defaultMessage is the template of a commit's message.
const defaultMessage = `chore(images): bump {{.Summary}}
{{range .Images}}
{{.Image}}:
{{- range .Changes}}
- {{.File}}:{{.Line}} {{.From}} -> {{.To}}
{{- end}}
{{end}}`

// Message is the template of a commit's message; the zero Message is the default one.
type Message struct{ template *template.Template }

// variables are what a message template may use.
type variables struct {
	Summary string // "rss to 1.5.0", or "3 images"
	Images  []imageChanges
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

// ParseMessage reads a text/template over .Summary and .Images (.Image, .Changes: .File .Line .From .To); "" is the
// default.
func ParseMessage(text string) (Message, error) {
	if text == "" {
		text = defaultMessage
	}
	t, err := template.New("message").Parse(text)
	if err == nil {
		err = t.Execute(new(strings.Builder), variables{Summary: "x", Images: []imageChanges{{Changes: []line{{}}}}})
	}
	if err != nil {
		return Message{}, fault.Usagef("for example: --message 'deploy {{.Summary}}'", "--message: %w", err)
	}
	return Message{t}, nil
}

// render is the message for the plan, with the trailer as its last paragraph.
func (m Message) render(p Plan) (string, error) {
	if m.template == nil {
		m, _ = ParseMessage("")
	}
	v := variables{Summary: p.Summary()}
	for _, c := range p.Changes {
		name := c.To.Name()
		i := slices.IndexFunc(v.Images, func(g imageChanges) bool { return g.Image == name })
		if i < 0 {
			i, v.Images = len(v.Images), append(v.Images, imageChanges{Image: name})
		}
		from := versionOf(c.From)
		if !c.From.Same(c.To) {
			from = c.From.String()
		}
		v.Images[i].Changes = append(v.Images[i].Changes, line{File: c.Site.File, Line: c.Line, From: from, To: versionOf(c.To)})
	}
	var b strings.Builder
	if err := m.template.Execute(&b, v); err != nil {
		return "", &fault.Error{Kind: fault.Usage, What: "--message", Err: err}
	}
	text := strings.TrimSpace(b.String())
	if text == "" {
		return "", fault.Usagef("give it some text", "--message renders to nothing")
	}
	return text + "\n\n" + Trailer + "\n", nil
}

// versionOf is the tag and digest of ref as a person reads them, with the digest cut to what tells it apart.
func versionOf(ref imageref.Ref) string {
	digest := brief(ref.Digest)
	switch {
	case ref.Tag != "" && digest != "":
		return ref.Tag + "@" + digest
	case !ref.Versioned():
		return "no version"
	}
	return ref.Tag + digest
}

// brief is a digest cut to what tells it apart.
func brief(digest string) string {
	if i := strings.IndexByte(digest, ':'); i >= 0 && len(digest) > i+digestShown {
		return digest[:i+1+digestShown]
	}
	return digest
}

// digestShown is how many hex digits of a digest a message shows.
const digestShown = 12
