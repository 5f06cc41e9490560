package argoapi

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strings"
	"sync"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/rollout"
)

// API is a cluster's API server, and who we are there.
type API interface {
	// Do sends a request to the server, whose address and login it is given; what and where are for errors.
	Do(r *http.Request, what, where string) (*http.Response, error)
	Host() string
	From() string // where the access was configured
}

// Cluster is the cluster that Argo CD runs in.
type Cluster struct {
	API       API
	Namespace string       // Argo CD's own, where applications are that name none
	Warn      func(string) // what is not as it should be, though it goes on

	unrefreshed sync.Once
}

const reading = "read application"

// Application is what the Application resource says, NAME or NAMESPACE/NAME; with refresh Argo CD is asked to compare it anew
// before, which ends when the annotation is gone. An error is rollout.ErrMissing when there is none.
func (c *Cluster) Application(ctx context.Context, application string, refresh bool) (*rollout.Application, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if refresh {
		a, err := c.object(limited, application, http.MethodPatch, `{"metadata":{"annotations":{"argocd.argoproj.io/refresh":"normal"}}}`)
		if fault.KindOf(err) != fault.Denied || errors.Is(err, rollout.ErrMissing) {
			return a, err
		}
	}
	a, err := c.object(limited, application, http.MethodGet, "")
	if refresh && err == nil {
		c.unrefreshed.Do(func() {
			c.Warn("we may not ask Argo CD to look at once, so that it looks when it does by itself, within three minutes: a Role needs the verb patch on applications of argoproj.io")
		})
	}
	return a, err
}

// Watch tells of each change of an application until the stream ends, with rollout.ErrMissing when the application is deleted.
func (c *Cluster) Watch(ctx context.Context, application string, seen func(*rollout.Application)) error {
	namespace, name, err := c.split(application)
	if err != nil {
		return err
	}
	query := url.Values{"watch": {"1"}, "fieldSelector": {"metadata.name=" + name}}
	resp, err := c.send(ctx, http.MethodGet, &url.URL{Path: objects(namespace), RawQuery: query.Encode()}, "", application)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if err := follow(resp.Body, namespace, name, seen); err != nil && !errors.Is(err, rollout.ErrMissing) {
		return &fault.Error{What: "watch application", Where: application, Err: err}
	} else if err != nil {
		return err
	}
	return nil
}

// Forbids is not known here: sync windows are a matter of Argo CD's own API.
func (c *Cluster) Forbids(context.Context, string) string { return "" }

// Rollout is a Rollout in this cluster, in JSON, nil when it is in another or we may not see it.
func (c *Cluster) Rollout(ctx context.Context, application string, a *rollout.Application, of rollout.Resource) ([]byte, error) {
	if abroad(a) || !validName.MatchString(of.Namespace) || !validName.MatchString(of.Name) {
		return nil, nil
	}
	return permitted(c.text(ctx, application, path.Join("apis/argoproj.io/v1alpha1/namespaces", of.Namespace, "rollouts", of.Name), nil, maxAnswer))
}

// abroad reports whether an application's resources are in another cluster than it is itself.
func abroad(a *rollout.Application) bool {
	d := a.Spec.Destination
	return d.Server != "" && d.Server != "https://kubernetes.default.svc" || d.Name != "" && d.Name != "in-cluster"
}

func (c *Cluster) split(application string) (namespace, name string, err error) {
	namespace, name, err = ParseName(application)
	return cmp.Or(namespace, c.Namespace), name, err
}

// objects is the path of a namespace's applications.
func objects(namespace string) string {
	return path.Join("apis/argoproj.io/v1alpha1/namespaces", namespace, "applications")
}

// object reads or patches a resource.
func (c *Cluster) object(ctx context.Context, application, method, patch string) (*rollout.Application, error) {
	namespace, name, err := c.split(application)
	if err != nil {
		return nil, err
	}
	resp, err := c.send(ctx, method, &url.URL{Path: path.Join(objects(namespace), name)}, patch, application)
	if err != nil {
		return nil, err
	}
	body, err := read(resp)
	if err != nil {
		return nil, &fault.Error{What: reading, Where: application, Err: cause(ctx, err)}
	}
	a, err := decoded(body)
	if err != nil {
		return nil, &fault.Error{What: reading, Where: application, Err: fmt.Errorf("%s: %w", c.API.Host(), err)}
	}
	return a, nil
}

// send sends a request; an answer other than 200 is an error.
func (c *Cluster) send(ctx context.Context, method string, target *url.URL, patch, application string) (*http.Response, error) {
	var content io.Reader
	if patch != "" {
		content = strings.NewReader(patch)
	}
	r, err := http.NewRequestWithContext(ctx, method, target.String(), content)
	if err != nil {
		return nil, err
	}
	r.Header.Set("Accept", "application/json, */*") // a log is text
	if patch != "" {
		r.Header.Set("Content-Type", "application/merge-patch+json")
	}
	resp, err := c.API.Do(r, reading, application)
	if err != nil {
		return nil, &rollout.Later{Err: err}
	}
	if resp.StatusCode != http.StatusOK {
		body, _ := read(resp)
		return nil, c.refused(application, resp, body)
	}
	return resp, nil
}

// refused says what an answer other than 200 means (metav1.Status).
func (c *Cluster) refused(application string, resp *http.Response, body []byte) error {
	namespace, _, _ := c.split(application)
	var status struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
		Details struct {
			Name string `json:"name"`
		} `json:"details"`
	}
	f, code := &fault.Error{What: reading, Where: application}, resp.StatusCode
	switch ours := json.Unmarshal(body, &status) == nil && status.Kind == "Status"; {
	case !ours:
		f.Err = fmt.Errorf("%s answers %d %s, and not as an API server does", c.API.Host(), code, http.StatusText(code))
		f.Hint = "is it the cluster's API server? (" + c.API.From() + ")"
	case code == http.StatusUnauthorized:
		f.Kind, f.Err = fault.Denied, fmt.Errorf("%s does not accept our login", c.API.Host())
		f.Hint = "the token or certificate may have expired (" + c.API.From() + ")"
	case code == http.StatusForbidden:
		f.Kind, f.Err = fault.Denied, errors.New(said(status.Message))
		f.Hint = "a Role in the namespace " + namespace + " must allow get, list, watch and patch on applications of argoproj.io"
	case code == http.StatusNotFound && status.Details.Name == "":
		f.Err, f.Hint = fmt.Errorf("%s knows no applications", c.API.Host()), "is Argo CD installed in this cluster? ("+c.API.From()+")"
	case code == http.StatusNotFound:
		f.Err, f.Hint = rollout.ErrMissing, "check the name: kubectl get applications --namespace "+namespace+" (another one: --argocd-namespace)"
	default:
		f.Err = fmt.Errorf("%s answers %d: %s", c.API.Host(), code, said(status.Message))
	}
	f.Err = busy(resp, f.Err)
	return f
}
