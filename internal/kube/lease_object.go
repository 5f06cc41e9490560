package kube

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// lease is a Lease (coordination.k8s.io/v1). Metadata stays as it came, for it is others' too.
type lease struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Metadata   map[string]any `json:"metadata"`
	Spec       leaseSpec      `json:"spec"`
}

// leaseSpec says who leads. Times are of the holder's clock, and here for people only.
type leaseSpec struct {
	Holder      string `json:"holderIdentity"`
	Seconds     int    `json:"leaseDurationSeconds"`
	Acquired    string `json:"acquireTime,omitempty"`
	Renewed     string `json:"renewTime,omitempty"`
	Transitions int    `json:"leaseTransitions"`
}

// longestLease is as long as anybody waits for a holder that does not renew.
const longestLease = time.Hour

func (s leaseSpec) duration() time.Duration {
	return min(time.Duration(min(s.Seconds, int(longestLease/time.Second)))*time.Second, longestLease)
}

// addressKey is the annotation that says where the leader is found.
const addressKey = "imgbump/address"

func (l *lease) annotations() map[string]any {
	a, _ := l.Metadata["annotations"].(map[string]any)
	return a
}

func (l *lease) address() string {
	a, _ := l.annotations()[addressKey].(string)
	return a
}

// version is what a write has to come after, "" of a Lease that is not there.
func (l *lease) version() string {
	v, _ := l.Metadata["resourceVersion"].(string)
	return v
}

// with is the Lease with another spec and the holder's address, "" for none.
func (l *lease) with(spec leaseSpec, address string) *lease {
	changed := &lease{Metadata: map[string]any{}, Spec: spec}
	maps.Copy(changed.Metadata, l.Metadata)
	annotations := map[string]any{}
	maps.Copy(annotations, l.annotations())
	if annotations[addressKey] = address; address == "" {
		delete(annotations, addressKey)
	}
	changed.Metadata["annotations"] = annotations
	return changed
}

// microTime is a time as the API server wants it (metav1.MicroTime).
func microTime(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000000Z07:00") }

// errChanged is that of a write which somebody else's came before.
var errChanged = errors.New("the Lease has changed")

const (
	readLease  = "read lease"
	renewLease = "renew lease"
)

const leasesPath = "/apis/coordination.k8s.io/v1/namespaces/%s/leases"

// lease reads a Lease. One that is not there has no version.
func (c *Cluster) lease(ctx context.Context, name Name) (*lease, error) {
	l, code, err := c.askForLease(ctx, readLease, name, http.MethodGet, fmt.Sprintf(leasesPath+"/%s", name.Namespace, name.Name), nil)
	if code == http.StatusNotFound {
		return &lease{}, nil
	}
	return l, err
}

// putLease writes a Lease that was read before, or makes it. When it is another by now, that is errChanged.
func (c *Cluster) putLease(ctx context.Context, name Name, l *lease) (*lease, error) {
	l.APIVersion, l.Kind = "coordination.k8s.io/v1", "Lease"
	l.Metadata["namespace"], l.Metadata["name"] = name.Namespace, name.Name
	method, path := http.MethodPut, fmt.Sprintf(leasesPath+"/%s", name.Namespace, name.Name)
	if l.version() == "" {
		method, path = http.MethodPost, fmt.Sprintf(leasesPath, name.Namespace)
	}
	written, code, err := c.askForLease(ctx, renewLease, name, method, path, l)
	if code == http.StatusConflict || code == http.StatusNotFound && method == http.MethodPut {
		return nil, errChanged
	}
	return written, err
}

// askForLease sends a request whose answer is a Lease; code is that of an answer which is none.
func (c *Cluster) askForLease(ctx context.Context, what string, name Name, method, path string, l *lease) (answer *lease, code int, err error) {
	var body []byte
	if l != nil {
		if body, err = json.Marshal(l); err != nil {
			return nil, 0, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, path, bytes.NewReader(body))
	if err != nil {
		return nil, 0, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Content-Type", "application/json")
	resp, err := c.Do(r, what, name.String())
	if err == nil {
		defer resp.Body.Close()
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	}
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, 0, &fault.Error{What: what, Where: name.String(), Err: fmt.Errorf("no answer from the API server %s in time", c.Host()),
			Hint: "is the API server running, and the cluster's address right? (" + c.from + ")"}
	case err != nil:
		return nil, 0, err
	}
	if resp.StatusCode == http.StatusOK || resp.StatusCode == http.StatusCreated {
		answer = &lease{}
		if json.Unmarshal(body, answer) == nil && answer.Kind == "Lease" && answer.version() != "" {
			return answer, 0, nil
		}
	}
	return nil, resp.StatusCode, c.refusedLease(what, name, resp.StatusCode, body)
}

// refusedLease says what an answer means that is no Lease.
func (c *Cluster) refusedLease(what string, name Name, code int, body []byte) error {
	message, ok := statusOf(body)
	switch {
	case ok && code == http.StatusForbidden:
		user := userOf(message)
		return &fault.Error{Kind: fault.Denied, What: what, Where: name.String(), Err: fmt.Errorf("%s may not: a Role is missing", user),
			Hint: roleHint + role(name.Namespace, "lead-"+name.Name, user, strings.ReplaceAll(leaseRules, "NAME", name.Name))}
	case ok && code == http.StatusNotFound:
		return &fault.Error{What: what, Where: name.String(), Err: fmt.Errorf("the cluster has no namespace %s", name.Namespace),
			Hint: "kubectl create namespace " + name.Namespace}
	}
	return c.refused(what, name, code, body)
}

// leaseRules are the least right to be elected by the Lease NAME. What is not there yet has no name that could be allowed.
const leaseRules = `- apiGroups: [coordination.k8s.io]
  resources: [leases]
  verbs: [create]
- apiGroups: [coordination.k8s.io]
  resources: [leases]
  resourceNames: [NAME]
  verbs: [get, update]`
