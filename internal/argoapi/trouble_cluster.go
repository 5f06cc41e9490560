package argoapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/ksera524/imgbump/internal/rollout"
)

// Troubles are the pods that keep an application from being live, with their last events and lines of their logs, and events
// of what should have made pods. What cannot be found out is noted.
func (c *Cluster) Troubles(ctx context.Context, application string, a *rollout.Application, lines int) []rollout.Trouble {
	all := unapplied(a)
	if abroad(a) {
		return append(all, rollout.Trouble{Note: "its resources are in another cluster: Argo CD's own API knows of them"})
	}
	namespaces := map[string][]rollout.Resource{}
	var order []string
	resources := a.Status.Resources
	if a.Status.OperationState != nil { // which has the hooks
		resources = slices.Concat(resources, a.Status.OperationState.SyncResult.Resources)
	}
	for _, r := range resources {
		if !slices.Contains(makers, r.Kind) || !validName.MatchString(r.Namespace) {
			continue
		}
		if namespaces[r.Namespace] == nil {
			order = append(order, r.Namespace)
		}
		namespaces[r.Namespace] = append(namespaces[r.Namespace], r)
	}
	for _, namespace := range order[:min(len(order), mostOthers)] {
		all = append(all, c.inNamespace(ctx, application, namespace, namespaces[namespace], lines)...)
	}
	return all
}

// makers are the kinds that make pods, or are one.
var makers = []string{"Deployment", "Rollout", "ReplicaSet", "StatefulSet", "DaemonSet", "Job", "CronJob", "Pod"}

// made reports whether an object of that kind and name was made by a resource.
func made(r rollout.Resource, kind, name string) bool {
	rest, below := strings.CutPrefix(name, r.Name+"-")
	switch {
	case kind == r.Kind && name == r.Name:
		return true
	case r.Kind == "CronJob":
		return kind == "Job" && below && !strings.Contains(rest, "-")
	}
	return (r.Kind == "Deployment" || r.Kind == "Rollout") && kind == "ReplicaSet" && below && !strings.Contains(rest, "-")
}

// inNamespace tells of the resources in one namespace.
func (c *Cluster) inNamespace(ctx context.Context, application, namespace string, resources []rollout.Resource, lines int) []rollout.Trouble {
	ours := func(kind, name string) bool {
		return slices.ContainsFunc(resources, func(r rollout.Resource) bool { return made(r, kind, name) })
	}
	var events struct {
		Items []occurrence `json:"items"`
	}
	var pods struct {
		Items []pod `json:"items"`
	}
	in := path.Join("api/v1/namespaces", namespace)
	unknown := c.read(ctx, application, path.Join(in, "events"), url.Values{"limit": {"500"}, "fieldSelector": {"type=Warning"}}, &events)
	if err := c.read(ctx, application, path.Join(in, "pods"), url.Values{"limit": {"500"}}, &pods); err != nil {
		return []rollout.Trouble{{Note: noted("its pods", err)}}
	}
	var all []rollout.Trouble
	for _, p := range pods.Items {
		owned := ours("Pod", p.Metadata.Name)
		for _, o := range p.Metadata.Owners {
			owned = owned || ours(o.Kind, o.Name)
		}
		if !owned || p.well() || len(all) == mostPods || !validName.MatchString(p.Metadata.Name) {
			continue
		}
		t := rollout.Trouble{Resource: "Pod/" + p.Metadata.Name, State: p.state()}
		t.Events = told(slices.DeleteFunc(slices.Clone(events.Items), func(e occurrence) bool { return e.Involved.UID != p.Metadata.UID }))
		if unknown != nil {
			t.Note = noted("its events", unknown)
		}
		if b := p.blamed(); b != nil && b.logged() && lines > 0 {
			log, err := c.log(ctx, application, path.Join(in, "pods", p.Metadata.Name, "log"), b.Name, lines)
			if t.Log = log; err != nil {
				t.Note = noted("its log", err)
			}
		}
		all = append(all, t)
	}
	if len(all) == 0 { // nothing made any
		found := slices.DeleteFunc(events.Items, func(e occurrence) bool { return !ours(e.Involved.Kind, e.Involved.Name) })
		if len(found) > 0 {
			last := found[len(found)-1].Involved
			all = append(all, rollout.Trouble{Resource: said(last.Kind + "/" + last.Name), Events: told(found)})
		}
	}
	return all
}

// log are the last lines of a container's.
func (c *Cluster) log(ctx context.Context, application, target, container string, lines int) ([]string, error) {
	query := url.Values{"container": {container}, "tailLines": {strconv.Itoa(lines)}, "limitBytes": {strconv.Itoa(mostLog)}}
	text, err := c.text(ctx, application, target, query, mostLog)
	return tail(text, lines), err
}

// read reads what the API server has at a path.
func (c *Cluster) read(ctx context.Context, application, target string, query url.Values, answer any) error {
	body, err := c.text(ctx, application, target, query, maxAnswer)
	if err != nil {
		return err
	}
	if json.NewDecoder(bytes.NewReader(body)).Decode(answer) != nil {
		return errors.New("the API server answers with something that was not asked for")
	}
	return nil
}

func (c *Cluster) text(ctx context.Context, application, target string, query url.Values, most int64) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	resp, err := c.send(ctx, http.MethodGet, &url.URL{Path: target, RawQuery: query.Encode()}, "", application)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	return io.ReadAll(io.LimitReader(resp.Body, most))
}
