package bump

import (
	"bytes"
	"context"
	"fmt"
	"iter"
	"path"
	"slices"
	"strings"

	"github.com/agext/levenshtein"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/gitops/argocd"
	"github.com/ksera524/imgbump/internal/gitops/manifest"
)

// owners knows which Argo CD applications deploy the sites of a tree.
type owners struct {
	*argocd.Index
	byFile map[string][]argocd.Owner // as far as they were asked for
}

// owners looks for applications in the tree that was searched. Where the search was limited, most are declared elsewhere:
// then the whole tree is looked through, but only when the job asks for them, since it may have to be fetched.
func (j Job) owners(ctx context.Context, t *tree, o *overlays) (owners, error) {
	if len(t.under) > 0 && j.looksAround() {
		var err error
		if t, err = search(ctx, t.source, nil, nothing); err != nil {
			return owners{}, err
		}
		o = newOverlays(t)
	}
	declared := t.declared
	if j.looksAround() {
		declared = append(slices.Clip(declared), t.templated()...)
	}
	around := surroundings{t, o}
	index, err := argocd.New(around.kustomized(declared), j.Place, around)
	if err != nil {
		return owners{}, err
	}
	return owners{index, map[string][]argocd.Owner{}}, j.declared(index)
}

// templated is what the templates of charts declare. What Helm fills in is not known, which is said once for each chart.
func (t *tree) templated() (all []argocd.Declared) {
	var buf []byte
	var unclear argocd.Declared
	filled := map[string]int{} // by folder: where in unclear
	count := map[string]int{}
	for _, f := range t.templates {
		var err error
		if buf, err = f.Read(buf[:0]); err != nil || !argocd.Declares(buf) {
			continue
		}
		if !bytes.Contains(buf, []byte("{{")) {
			all = append(all, argocd.Parse(f.Path, buf))
			continue
		}
		chart, _, _ := strings.Cut(f.Path, "/templates/")
		text := "a template of a chart declares applications: what they deploy is not known"
		if count[chart]++; count[chart] == 1 {
			filled[chart] = len(unclear.Unclear)
			unclear.Unclear = append(unclear.Unclear, argocd.Unclear{File: f.Path, Text: text})
		} else {
			unclear.Unclear[filled[chart]].Text = fmt.Sprintf("%d templates of a chart, this among them, declare applications: what they deploy is not known", count[chart])
		}
	}
	return append(all, unclear)
}

// looksAround reports whether the job asks for applications, wherever they are declared.
func (j Job) looksAround() bool { return j.Owners || len(j.Applications) > 0 }

// nothing is what is wanted when only the tree itself is looked at.
var nothing = wanted{names: names{many: map[string]bool{}}}

// declared refuses the names of applications that there are not.
func (j Job) declared(index *argocd.Index) error {
	all := index.Applications()
	for _, name := range j.Applications {
		if slices.ContainsFunc(all, func(a argocd.Application) bool { return a.Is(name) }) {
			continue
		}
		hint := "no manifest here declares an Application of Argo CD; without a checkout of them, use --path"
		if near := nearestNames(name, all); len(near) > 0 {
			hint = "the nearest that are declared here: " + strings.Join(near, ", ")
		} else if unclear := index.Unclear(); len(unclear) > 0 {
			hint = unclear[0].Text
		}
		return fault.Usagef(hint, "there is no application %s", name)
	}
	return nil
}

// undeployed is the failure of an image that none of the job's applications has.
func (j Job) undeployed(image Image) Failure {
	names := strings.Join(j.Applications, ", ")
	return Failure{Image: image.Ref.String(), Err: &fault.Error{
		Kind: fault.Missing, What: fmt.Sprintf("no manifest of application %s names", names), Where: image.Ref.Name(),
		Hint: "imgbump list --application " + j.Applications[0] + " shows what it names",
	}}
}

// nearestNames are the names of applications that are spelled most like name, best first.
func nearestNames(name string, all []argocd.Application) []string {
	likeness := map[string]float64{}
	for _, a := range all {
		likeness[a.Name] = levenshtein.Match(a.Name, name, nil)
	}
	return best(likeness)
}

// of are the applications that deploy the site, by wave and name. What an Application says of its images is deployed by
// itself.
func (o owners) of(site manifest.Site) []argocd.Owner {
	if strings.HasPrefix(site.Object.APIVersion, "argoproj.io/") {
		if declared := o.Declared(site.File, site.Object.Kind, site.Object.Name); len(declared) > 0 {
			return declared
		}
	}
	deployed, known := o.byFile[site.File]
	if !known {
		deployed = o.Owners(site.File)
		o.byFile[site.File] = deployed
	}
	return deployed
}

// concerns reports whether one of the job's applications is among those that deploy a site; without any, every site
// counts.
func (j Job) concerns(deployed []argocd.Owner) bool {
	return len(j.Applications) == 0 || slices.ContainsFunc(deployed, func(o argocd.Owner) bool {
		return slices.ContainsFunc(j.Applications, o.Is)
	})
}

// limit finds out who deploys what before anything is decided, when the job asks for some applications alone.
func (d *decision) limit(ctx context.Context, t *tree) (err error) {
	if len(d.job.Applications) > 0 {
		d.owners, err = d.job.owners(ctx, t, d.overlays)
	}
	return err
}

// covers reports whether the job may change the site.
func (d *decision) covers(site manifest.Site) bool {
	return d.job.covers(site.File) && (len(d.job.Applications) == 0 || d.job.concerns(d.owners.of(site)))
}

// attribute tells the applications that the changes belong to.
func (d *decision) attribute(ctx context.Context, t *tree) (err error) {
	if len(d.plan.Changes) == 0 {
		return nil
	}
	if d.owners.Index == nil {
		if d.owners, err = d.job.owners(ctx, t, d.overlays); err != nil {
			return err
		}
	}
	for i := range d.plan.Changes {
		c := &d.plan.Changes[i]
		c.Application = applications(d.owners.of(c.Site))
	}
	if d.job.looksAround() {
		d.plan.Warnings = append(d.plan.Warnings, d.owners.warnings()...)
	}
	return nil
}

// applicationSeparator stands between the names of applications that deploy a site together.
const applicationSeparator = ", "

// applications are the distinct names of those that deploy a site, in their order.
func applications(deployed []argocd.Owner) string {
	var all []string
	for _, o := range deployed {
		if !slices.Contains(all, o.Name) {
			all = append(all, o.Name)
		}
	}
	return strings.Join(all, applicationSeparator)
}

// unclearShown is how many warnings there are at most about applications that are not known.
const unclearShown = 5

// warnings say what the manifests leave open about applications.
func (o owners) warnings() []Warning {
	var all []Warning
	unclear := o.Unclear()
	for _, u := range unclear[:min(len(unclear), unclearShown)] {
		all = append(all, Warning(u))
	}
	if more := len(unclear) - unclearShown; more > 0 {
		all = append(all, Warning{Text: fmt.Sprintf("%d more Applications or ApplicationSets that are not understood", more)})
	}
	return all
}

// surroundings are what a search found out about a tree, as argocd asks for it.
type surroundings struct {
	*tree
	*overlays
}

func (s surroundings) Files() iter.Seq2[manifest.File, error] { return s.below(s.under) }

func (s surroundings) Chart(dir string) bool { return s.charts[dir] }

func (s surroundings) Kustomization(dir string) bool {
	return slices.ContainsFunc(manifest.KustomizationsIn(dir), func(file string) bool { return s.kustomizations[file] != nil })
}

func (s surroundings) Builders(file string) []string {
	met, _ := climb(file, s.naming)
	for i, kustomization := range met {
		met[i] = path.Dir(kustomization)
	}
	return met
}

// naming are the kustomizations that name a file or folder for whatever purpose.
func (s surroundings) naming(p string) []string {
	return slices.DeleteFunc(slices.Clone(s.mentioning(p)), func(kustomization string) bool {
		return !slices.Contains(s.inputs(kustomization), p)
	})
}
