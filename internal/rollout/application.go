// Package rollout tells from what Argo CD says of an application whether a commit is live, or why it will not be.
//
// It does no I/O and has no clock: what was seen, and when, comes in. The rules follow how Argo CD v3.5 was observed to write
// an Application's status; testdata holds those observations.
package rollout

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Application is what an Application resource says, as far as it matters here.
type Application struct {
	Metadata struct {
		Name        string            `json:"name"`
		Namespace   string            `json:"namespace"`
		Annotations map[string]string `json:"annotations"`
		Deletion    *time.Time        `json:"deletionTimestamp"` // since when it is being deleted
	} `json:"metadata"`
	Spec struct {
		Project     string    `json:"project"`
		Source      *Source   `json:"source"`
		Sources     []Source  `json:"sources"`
		Hydrator    *struct{} `json:"sourceHydrator"`
		Destination struct {
			Server string `json:"server"`
			Name   string `json:"name"`
		} `json:"destination"`
		SyncPolicy struct {
			Automated *struct {
				Enabled *bool `json:"enabled"`
			} `json:"automated"`
		} `json:"syncPolicy"`
	} `json:"spec"`
	Operation *Operation `json:"operation"` // queued or running
	Status    Status     `json:"status"`

	// Refreshed is that this was said once the application had been compared anew, because it was asked for.
	Refreshed bool `json:"-"`
	// Rollouts are those that Pausing names, up to one that does not resume.
	Rollouts []Rollout `json:"-"`
}

// Source is a repository that an application takes manifests from, and what the application itself makes of them.
type Source struct {
	Repository string `json:"repoURL"`
	Revision   string `json:"targetRevision"`
	Path       string `json:"path"`
	Chart      string `json:"chart"`
	Kustomize  struct {
		Images []string `json:"images"`
	} `json:"kustomize"`
	Helm struct {
		Parameters []struct {
			Name  string `json:"name"`
			Value string `json:"value"`
		} `json:"parameters"`
		Values     string   `json:"values"`
		ValueFiles []string `json:"valueFiles"`
	} `json:"helm"`

	whole string // as it was declared, with all that matters nowhere else
}

// UnmarshalJSON also keeps the source as a whole, without what is empty, which Argo CD leaves out of what it compared.
func (s *Source) UnmarshalJSON(data []byte) error {
	type plain Source
	var whole any
	if err := errors.Join(json.Unmarshal(data, (*plain)(s)), json.Unmarshal(data, &whole)); err != nil {
		return err
	}
	text, err := json.Marshal(filled(whole))
	s.whole = string(text)
	return err
}

// filled is a value of JSON without what is empty in it, nil when that is all.
func filled(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key, below := range v {
			if v[key] = filled(below); v[key] == nil {
				delete(v, key)
			}
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i, below := range v {
			v[i] = filled(below)
		}
		if len(v) == 0 {
			return nil
		}
	case string, bool, float64:
		if v == "" || v == false || v == 0.0 {
			return nil
		}
	}
	return value
}

// Same reports whether two sources are the same branch, tag or commit of the same repository.
func (s Source) Same(other Source) bool {
	plain := func(address string) string { return strings.TrimSuffix(strings.ToLower(address), ".git") }
	return plain(s.Repository) == plain(other.Repository) && s.Revision == other.Revision && s.Chart == other.Chart
}

// Status is what Argo CD's controller writes.
type Status struct {
	Sync struct {
		Status    string   `json:"status"`
		Revision  string   `json:"revision"` // that was compared with the cluster
		Revisions []string `json:"revisions"`
		Compared  struct {
			Source  Source   `json:"source"`
			Sources []Source `json:"sources"`
		} `json:"comparedTo"` // what the application's spec was then
	} `json:"sync"`
	Health         Health          `json:"health"`
	OperationState *OperationState `json:"operationState"` // the last one
	Conditions     []Condition     `json:"conditions"`
	ReconciledAt   time.Time       `json:"reconciledAt"`
	Resources      []Resource      `json:"resources"`
}

// Health is how an application or one of its resources does.
type Health struct {
	Status  string `json:"status"`
	Message string `json:"message"`
}

// Operation is what Argo CD was asked to do.
type Operation struct {
	Sync struct {
		Revision  string   `json:"revision"`
		Revisions []string `json:"revisions"`
		DryRun    bool     `json:"dryRun"`
	} `json:"sync"`
}

// OperationState is how an operation goes.
type OperationState struct {
	Operation  Operation `json:"operation"`
	Phase      string    `json:"phase"`
	Message    string    `json:"message"`
	RetryCount int       `json:"retryCount"`
	FinishedAt time.Time `json:"finishedAt"`
	SyncResult struct {
		Revision  string     `json:"revision"`
		Revisions []string   `json:"revisions"`
		Resources []Resource `json:"resources"`
	} `json:"syncResult"`
}

// Condition is something that Argo CD says about an application.
type Condition struct {
	Type    string `json:"type"`
	Message string `json:"message"`
}

// Resource is one of an application's.
type Resource struct {
	Group     string  `json:"group"`
	Version   string  `json:"version"`
	Kind      string  `json:"kind"`
	Namespace string  `json:"namespace"`
	Name      string  `json:"name"`
	Status    string  `json:"status"`
	Message   string  `json:"message"` // in an operation's result
	Wave      int     `json:"syncWave"`
	Pruning   bool    `json:"requiresPruning"` // it is in no manifest any more
	Health    *Health `json:"health"`
	Phase     string  `json:"hookPhase"` // in an operation's result
	Hook      string  `json:"hookType"`  // likewise, "" for what is no hook
}

// Failed reports whether an operation could not apply the resource, or its hook did not succeed.
func (r Resource) Failed() bool {
	return r.Status == "SyncFailed" || r.Phase == "Failed" || r.Phase == "Error"
}

// Trouble is what is told of a resource that keeps an application from being live.
type Trouble struct {
	Resource string   // Pod/web-7bf87b6875-g9h8b
	State    string   // how it is, and why
	Events   []string // the last ones, the newest last
	Log      []string // the last lines
	Note     string   // what could not be found out
}

// String is the resource as people write it: Deployment/web.
func (r Resource) String() string { return r.Kind + "/" + r.Name }

// Origins are all of the application's, in the order in which revisions tell of them.
func (a *Application) Origins() []Source {
	if len(a.Spec.Sources) > 0 {
		return a.Spec.Sources
	}
	if a.Spec.Source != nil {
		return []Source{*a.Spec.Source}
	}
	return nil
}

// ErrMissing is that there is no such application, or none that we may see: Argo CD's own API does not tell these apart.
var ErrMissing = errors.New("not found, or not permitted")

// Later is that Argo CD, or what stands before it, cannot answer now. Asking again may help.
type Later struct {
	After time.Duration // that it asks to be left alone, 0 when nobody answered at all
	Err   error
}

func (l *Later) Error() string { return l.Err.Error() }

func (l *Later) Unwrap() error { return l.Err }

// Children are the applications among an application's resources, by wave: it is an app of apps when there are any.
func (a *Application) Children() []Resource {
	var children []Resource
	for _, r := range a.Status.Resources {
		if r.isChild() {
			children = append(children, r)
		}
	}
	slices.SortStableFunc(children, func(a, b Resource) int { return cmp.Compare(a.Wave, b.Wave) })
	return children
}

// isChild reports whether the resource is an application, of which Argo CD tells as of any other.
func (r Resource) isChild() bool {
	return r.Group == "argoproj.io" && r.Kind == "Application" && isName(r.Name) && isName(r.Namespace)
}

// isName reports whether Kubernetes could have given such a name: what a server says is shown to people, and asked for.
func isName(name string) bool {
	return len(name) < 254 && strings.Trim(name, "abcdefghijklmnopqrstuvwxyz0123456789-.") == ""
}

// Equal reports whether two sources are the same in all that is declared.
func (s Source) Equal(other Source) bool {
	if s.whole != "" && other.whole != "" {
		return s.whole == other.whole
	}
	s.whole, other.whole = "", ""
	return fmt.Sprintf("%q", s) == fmt.Sprintf("%q", other)
}

// Compared reports whether Argo CD has compared the application as it is declared now, and not only as it was before
// somebody changed it: a child's new branch, or an image among its parameters.
func (a *Application) Compared() bool {
	compared := a.Status.Sync.Compared.Sources
	if len(compared) == 0 && a.Status.Sync.Compared.Source.Repository != "" {
		compared = []Source{a.Status.Sync.Compared.Source}
	}
	return len(compared) == 0 || len(a.Origins()) == 0 || slices.EqualFunc(compared, a.Origins(), Source.Equal)
}

// Revision is what the source with that number was compared at with the cluster: a full commit id, a chart's version, or
// before that what the source names.
func (a *Application) Revision(source int) string {
	return of(a.Status.Sync.Revisions, a.Status.Sync.Revision, source)
}

// of is the one of several revisions that belongs to source n, else the single one.
func of(revisions []string, single string, n int) string {
	if n < len(revisions) {
		return revisions[n]
	}
	return single
}

// isCommit reports whether a revision is a full commit id, which Argo CD writes once it could resolve one.
func isCommit(revision string) bool {
	return len(revision) == 40 && !strings.ContainsFunc(revision, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) })
}

// automated reports whether Argo CD syncs the application by itself.
func (a *Application) automated() bool {
	automated := a.Spec.SyncPolicy.Automated
	return automated != nil && (automated.Enabled == nil || *automated.Enabled)
}

// failing are the conditions that are errors.
func (a *Application) failing() []Condition {
	return slices.DeleteFunc(slices.Clone(a.Status.Conditions), func(c Condition) bool { return !strings.HasSuffix(c.Type, "Error") })
}
