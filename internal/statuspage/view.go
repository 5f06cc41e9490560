package statuspage

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"html/template"
	"slices"
	"sync"

	"github.com/ksera524/imgbump/internal/status"
)

// view is one state of the board as regions of the page.
type view struct {
	snapshot status.Snapshot
	changed  <-chan struct{} // closed when it is out of date
	regions  []*region
}

// region is a part of the page that changes as a whole. Its Version depends on what it shows only: replicas agree on it, and a
// browser that missed events finds what it lacks by comparing.
type region struct {
	ID, Version string
	template    string
	model       any

	mu   sync.Mutex
	made map[string]template.HTML // by language; a region is made for the first who asks, and kept
}

// view is the newest one.
func (p *page) view() *view {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.last != nil {
		select {
		case <-p.last.changed:
		default:
			return p.last
		}
	}
	v := &view{}
	v.snapshot, v.changed = p.Board.Snapshot()
	var all counts
	for _, t := range v.snapshot.Targets {
		id, images := idOf(t), imagesOf(t)
		all.sum(images.Counts)
		v.add(id+"-head", "head", headOf(t))
		v.add(id+"-log", "log", logOf(t))
		v.add(id+"-images", "images", images)
	}
	v.add("summary", "summary", summaryOf(v.snapshot, all))
	v.keep(p.last)
	p.last = v
	return v
}

// keep takes over the regions of an older view that are the same, with what they were made into.
func (v *view) keep(older *view) {
	if older == nil {
		return
	}
	for i, r := range v.regions {
		if old := older.region(r.ID); old != nil && old.Version == r.Version {
			v.regions[i] = old
		}
	}
}

// add adds a region of which the template shows the model.
func (v *view) add(id, named string, model any) {
	text, err := json.Marshal(model)
	if err != nil {
		panic(err) // plain values
	}
	v.regions = append(v.regions, &region{ID: id, Version: digest(string(text)), template: named, model: model, made: map[string]template.HTML{}})
}

// idOf is what the ids of a target's parts begin with.
func idOf(t status.Target) string { return "t" + digest(t.Name) }

// digest is a short name for a text.
func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:6])
}

func (v *view) region(id string) *region {
	i := slices.IndexFunc(v.regions, func(r *region) bool { return r.ID == id })
	if i < 0 {
		return nil
	}
	return v.regions[i]
}

func (v *view) target(name string) *status.Target {
	i := slices.IndexFunc(v.snapshot.Targets, func(t status.Target) bool { return t.Name == name })
	if i < 0 {
		return nil
	}
	return &v.snapshot.Targets[i]
}

// counts are those of all targets.
func (v *view) counts() counts { return v.region("summary").model.(summary).counts }

// section is a target's part of the page.
type section struct {
	ID                string
	Head, Log, Images template.HTML
}

// sections are the parts of all targets. With a filter, which only a browser without scripts leaves to us, rows are hidden.
func (v *view) sections(l *language, acts bool, f filter) []section {
	var all []section
	for _, t := range v.snapshot.Targets {
		id := idOf(t)
		rows := v.region(id + "-images")
		s := section{ID: id, Head: v.region(id+"-head").html(l, acts), Log: v.region(id+"-log").html(l, acts)}
		if f == (filter{}) {
			s.Images = rows.html(l, acts)
		} else {
			s.Images = rows.execute(l, acts, rows.model.(images).filtered(f))
		}
		all = append(all, s)
	}
	return all
}

// html is the region in a language.
func (r *region) html(l *language, acts bool) template.HTML {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.made[l.Code] == "" {
		r.made[l.Code] = r.execute(l, acts, r.model)
	}
	return r.made[l.Code]
}

func (r *region) execute(l *language, acts bool, model any) template.HTML {
	var b bytes.Buffer
	err := l.templates.ExecuteTemplate(&b, r.template, map[string]any{"ID": r.ID, "Version": r.Version, "Acts": acts, "M": model})
	if err != nil {
		panic(err) // a mistake in a template, which every test would meet
	}
	return template.HTML(b.String())
}
