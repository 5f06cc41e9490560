package statuspage

import (
	"net/url"
	"path"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/ksera524/imgbump/internal/status"
)

// The models are what templates show: what the board says, decided and made safe to read. Their text is from manifests,
// registries and servers, thus without what could make it look like something else.

// mark is what an image is at a glance, the worst first.
type mark string

const (
	failing mark = "failing" // no version could be chosen
	due     mark = "due"     // a newer version is to be written
	held    mark = "held"    // something holds it back
	none    mark = "none"    // the policy allows none of the versions
	current mark = "current"
)

// counts says how many images there are, and how many of each mark. An image can be held in one place and due in another.
type counts struct{ All, Failing, Due, Held int }

type summary struct {
	counts
	Looked, Standby bool // Looked: all targets were looked at
	Holder          string
	Broken, Targets int // Broken: their last round was given up
}

func summaryOf(s status.Snapshot, all counts) summary {
	m := summary{counts: all, Looked: true, Standby: !s.Leader, Holder: plain(s.Holder), Targets: len(s.Targets)}
	for _, t := range s.Targets {
		m.Looked = m.Looked && !t.Whole.IsZero()
		if t.Err != "" {
			m.Broken++
		}
	}
	return m
}

type head struct {
	Key                            string // the target as on the board
	Name, Repository, Branch, Page string
	State                          status.State
	Last, Whole, Next              time.Time
	Err, Hint                      string
}

func headOf(t status.Target) head {
	return head{Key: t.Name, Name: plain(t.Name), Repository: plain(t.Repository), Branch: plain(t.Branch), Page: web(t.Page), State: t.State,
		Last: t.Last, Whole: t.Whole, Next: t.Next, Err: plain(t.Err), Hint: plain(t.Hint)}
}

// shown is how many commits and failures are shown at once; the others are a click away.
const shown = 5

type log struct {
	Commits, OlderCommits   []commit
	Failures, MoreFailures  []status.Failure
	Diagram, DiagramVersion string
	Name                    string
}

type commit struct {
	SHA, Summary, Page, PullRequest, Number string
	At                                      time.Time
	Lag                                     time.Duration
}

func logOf(t status.Target) log {
	var m log
	for _, c := range t.Commits {
		m.Commits = append(m.Commits, commit{SHA: plain(c.SHA), Summary: plain(c.Summary), Page: web(c.Page), At: c.At, Lag: c.Lag,
			PullRequest: web(c.PullRequest), Number: plain(c.PullRequest[strings.LastIndexByte(c.PullRequest, '/')+1:])})
	}
	for _, f := range t.Failures {
		m.Failures = append(m.Failures, status.Failure{Where: plain(f.Where), Err: plain(f.Err), Hint: plain(f.Hint)})
	}
	n := min(shown, len(m.Commits))
	m.Commits, m.OlderCommits = m.Commits[:n], m.Commits[n:]
	n = min(shown, len(m.Failures))
	m.Failures, m.MoreFailures = m.Failures[:n], m.Failures[n:]
	m.Name = plain(t.Name)
	if t.Diagram != nil {
		m.Diagram, m.DiagramVersion = "diagram/"+url.PathEscape(t.Name)+".svg", digest(string(t.Diagram))
	}
	return m
}

type images struct {
	Target string // as on the board
	Name   string
	Counts counts
	Rows   []row
}

// row is an image. Host, Path and Base are its name in parts; Current are its versions, each once.
type row struct {
	ID, Key                string // Key: the image as on the board
	Name, Host, Path, Base string
	Policy, Origin         string
	Mark                   mark
	Marks                  string // all that hold, for filters
	Current                []string
	Newest, Why, Err, Hint string
	Asked                  time.Time // when it was looked at by itself, since all were
	Places                 []place
	Hidden                 bool
}

type place struct {
	Folder      string // with the slash at its end
	File        string
	Line        int
	Application string
	Current     string
	Mark        mark
	Hold        string
}

func imagesOf(t status.Target) images {
	m := images{Target: t.Name, Name: plain(t.Name)}
	seen := map[string]int{}
	for _, i := range t.Images {
		r := rowOf(i)
		if i.Checked.After(t.Whole) {
			r.Asked = i.Checked
		}
		key := digest(t.Name + "\n" + i.Name + "\n" + i.Origin + "\n" + i.Policy)
		if seen[key]++; seen[key] > 1 {
			key = digest(key + strings.Repeat("+", seen[key]))
		}
		r.ID = "i" + key
		m.Counts.add(r)
		m.Rows = append(m.Rows, r)
	}
	return m
}

func (c *counts) add(r row) {
	c.All++
	for m := range strings.FieldsSeq(r.Marks) {
		switch mark(m) {
		case failing:
			c.Failing++
		case due:
			c.Due++
		case held:
			c.Held++
		}
	}
}

func (c *counts) sum(o counts) {
	c.All, c.Failing, c.Due, c.Held = c.All+o.All, c.Failing+o.Failing, c.Due+o.Due, c.Held+o.Held
}

func rowOf(i status.Image) row {
	r := row{Key: i.Name, Name: plain(i.Name), Policy: plain(i.Policy), Origin: plain(i.Origin), Newest: plain(i.Newest), Why: plain(i.Why),
		Err: plain(i.Err), Hint: plain(i.Hint)}
	r.Host, r.Path, r.Base = parts(r.Name)
	has := map[mark]bool{failing: i.Err != "", none: i.Err == "" && i.Newest == ""}
	for _, p := range i.Places {
		o := place{Line: p.Line, Application: plain(p.Application), Current: plain(p.Current), Hold: plain(p.Hold), Mark: current}
		switch {
		case p.Hold != "":
			o.Mark = held
		case i.Behind(p):
			o.Mark = due
		}
		has[o.Mark] = true
		o.Folder, o.File = path.Split(plain(p.File))
		if !slices.Contains(r.Current, o.Current) {
			r.Current = append(r.Current, o.Current)
		}
		r.Places = append(r.Places, o)
	}
	var marks []string
	for _, m := range []mark{failing, due, held, none} {
		if has[m] {
			marks = append(marks, string(m))
		}
	}
	r.Marks, r.Mark = strings.Join(marks, " "), current
	if len(marks) > 0 {
		r.Mark = mark(marks[0])
	}
	return r
}

// Differ reports whether the places are to be told apart by version.
func (r row) Differ() bool { return len(r.Current) > 1 }

// parts are the registry, the projects and the last part of a repository's name.
func parts(name string) (host, projects, base string) {
	if i := strings.IndexByte(name, '/'); i > 0 && strings.ContainsAny(name[:i], ".:") {
		host, name = name[:i+1], name[i+1:]
	}
	i := strings.LastIndexByte(name, '/') + 1
	return host, name[:i], name[i:]
}

// plain is text without control characters and without those that turn the direction of what follows.
func plain(text string) string {
	return strings.ToValidUTF8(strings.Map(func(c rune) rune {
		switch {
		case c == '\n' || c == '\t':
			return ' '
		case unicode.IsControl(c) || unicode.Is(unicode.Bidi_Control, c):
			return unicode.ReplacementChar
		}
		return c
	}, text), string(unicode.ReplacementChar))
}

// web is an address that a link may lead to: "" unless it is one of the web's.
func web(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || u.User != nil {
		return ""
	}
	return u.String()
}
