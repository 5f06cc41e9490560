package bump

import (
	"fmt"
	"strings"
	"text/template"

	"github.com/ksera524/imgbump/internal/fault"
)

// Trailer marks our own commits, so that a workflow that they start can stop.
const Trailer = "Imgbump: v1"

// defaultMessage is the template of a commit's message.
const defaultMessage = `chore(images): bump {{.Summary}}

{{range .Changes}}{{.File}}:{{.Line}} {{.From}} -> {{.To}}
{{end}}`

// Message is the template of a commit's message; the zero Message is the default one.
type Message struct{ template *template.Template }

// variables are what a message template may use.
type variables struct {
	Summary string // "rss to 1.5.0", or "3 images"
	Changes []line
}

type line struct {
	File, Image, From, To string
	Line                  int
}

// ParseMessage reads a text/template over .Summary and .Changes (.File .Line .Image .From .To); "" is the default.
func ParseMessage(text string) (Message, error) {
	if text == "" {
		text = defaultMessage
	}
	t, err := template.New("message").Parse(text)
	if err == nil {
		err = t.Execute(new(strings.Builder), variables{Summary: "x", Changes: []line{{}}})
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
	v := variables{Summary: p.summary()}
	for _, c := range p.Changes {
		v.Changes = append(v.Changes, line{File: c.Site.File, Line: c.Line, Image: c.To.Name(), From: c.From.String(), To: c.To.String()})
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

// summary names the image and its new version, or counts the images.
func (p Plan) summary() string {
	images := p.Images()
	if len(images) != 1 {
		return fmt.Sprintf("%d images", len(images))
	}
	ref := images[0]
	version := ref.Tag
	if version == "" {
		version = ref.Digest
	}
	return ref.Base() + " to " + version
}
