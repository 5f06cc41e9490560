package statuspage

import (
	"embed"
	"fmt"
	"html/template"
	"net/http"
	"strconv"
	"strings"
	"time"
)

//go:embed assets
var files embed.FS

// language is one that the page speaks: its words, and the templates with them.
type language struct {
	Code, Name string
	words      map[string]string
	templates  *template.Template
}

var languages = []*language{speaking("en", "English", english), speaking("ja", "日本語", japanese)}

func speaking(code, name string, words map[string]string) *language {
	l := &language{Code: code, Name: name, words: words}
	l.templates = template.Must(template.New("").Funcs(template.FuncMap{
		"t": l.say, "time": moment, "lag": l.lag, "short": short, "number": number, "headline": l.headline,
	}).ParseFS(files, "assets/*.html"))
	return l
}

// languageOf is the one that the query asks for, else the one that the reader likes best, else English.
func languageOf(r *http.Request) *language {
	best, quality := languages[0], 0.0
	for part := range strings.SplitSeq(r.Header.Get("Accept-Language"), ",") {
		tag, parameter, _ := strings.Cut(strings.TrimSpace(part), ";")
		q, err := strconv.ParseFloat(strings.TrimPrefix(strings.TrimSpace(parameter), "q="), 64)
		if err != nil {
			q = 1
		}
		primary, _, _ := strings.Cut(strings.ToLower(tag), "-")
		for _, l := range languages {
			if primary == l.Code && q > quality {
				best, quality = l, q
			}
		}
	}
	for _, l := range languages {
		if r.URL.Query().Get("lang") == l.Code {
			return l
		}
	}
	return best
}

// say is a phrase with its arguments. "one|many" is chosen from by the first of them.
func (l *language) say(key string, args ...any) (string, error) {
	phrase, ok := l.words[key]
	if !ok {
		return "", fmt.Errorf("no word %q in %s", key, l.Name)
	}
	if one, many, ok := strings.Cut(phrase, "|"); ok && len(args) > 0 {
		if phrase = many; args[0] == 1 {
			phrase = one
		}
	}
	if len(args) == 0 || !strings.Contains(phrase, "%") {
		return phrase, nil
	}
	for i, a := range args {
		if n, ok := a.(int); ok {
			args[i] = number(n)
		}
	}
	return fmt.Sprintf(phrase, args...), nil
}

// word is a phrase that is known to be there.
func (l *language) word(key string, args ...any) string {
	text, err := l.say(key, args...)
	if err != nil {
		panic(err)
	}
	return text
}

// headline is the page in one sentence.
func (l *language) headline(m summary) string {
	switch {
	case m.Standby:
		return l.word("standing by")
	case m.Targets == 0:
		return l.word("no targets")
	case !m.Looked && m.All == 0 && m.Broken > 0:
		return l.word("not read")
	case !m.Looked && m.All == 0:
		return l.word("looking")
	case m.All == 0:
		return l.word("no images")
	}
	var parts []string
	for _, part := range []struct {
		key string
		n   int
	}{{"n due", m.Due}, {"n held", m.Held}, {"n failing", m.Failing}} {
		if part.n > 0 {
			parts = append(parts, l.word(part.key, part.n))
		}
	}
	if len(parts) == 0 && m.Broken > 0 {
		return l.word("all were", m.All)
	}
	if len(parts) == 0 {
		return l.word("all current", m.All)
	}
	return l.word("of all", m.All) + strings.Join(parts, l.word("comma")) + l.word("stop")
}

// moment is a time as browsers without scripts show it; page.js says how long ago that is.
func moment(t time.Time) template.HTML {
	t = t.UTC()
	return template.HTML(`<time datetime="` + t.Format("2006-01-02T15:04:05Z") + `">` + t.Format("2006-01-02 15:04 UTC") + `</time>`)
}

// lag is how long something took, in words.
func (l *language) lag(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return l.word("seconds", strconv.FormatFloat(d.Seconds(), 'f', 1, 64))
	case d < 2*time.Minute:
		return l.word("seconds", strconv.Itoa(int(d.Seconds())))
	case d < 2*time.Hour:
		return l.word("minutes", strconv.Itoa(int(d.Minutes())))
	}
	return l.word("hours", strconv.Itoa(int(d.Hours())))
}

// short is a version with as much of its digest as people compare, or a commit's name.
func short(version string) string {
	if head, hash, ok := strings.Cut(version, "sha256:"); ok && len(hash) == 64 {
		return head + "sha256:" + hash[:8] + "…"
	}
	return version
}

// number is a count with its thousands set apart.
func number(n int) string {
	s := strconv.Itoa(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
