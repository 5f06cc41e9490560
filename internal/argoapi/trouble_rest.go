package argoapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/ksera524/imgbump/internal/rollout"
)

// node is a resource of an application, or one that such a resource made.
type node struct {
	Group     string    `json:"group"`
	Version   string    `json:"version"`
	Kind      string    `json:"kind"`
	Namespace string    `json:"namespace"`
	Name      string    `json:"name"`
	UID       string    `json:"uid"`
	Created   time.Time `json:"createdAt"`
	Parents   []struct {
		UID string `json:"uid"`
	} `json:"parentRefs"`
	Health rollout.Health `json:"health"`
}

func (n node) ill() bool { return n.Health.Status != "" && n.Health.Status != "Healthy" }

// Troubles are the resources that keep an application from being live, with their last events and, of pods, lines of their
// logs. What cannot be found out is noted.
func (r *REST) Troubles(ctx context.Context, application string, a *rollout.Application, lines int) []rollout.Trouble {
	all := unapplied(a)
	var tree struct {
		Nodes []node `json:"nodes"`
	}
	if err := r.read(ctx, application, "resource-tree", nil, &tree); err != nil {
		return append(all, rollout.Trouble{Note: noted("its resources", err)})
	}
	var pods, others []node
	for _, n := range tree.Nodes {
		switch {
		case !n.ill() || n.Group == "argoproj.io" && n.Kind == "Application": // which is told of itself
		case n.Kind == "Pod":
			pods = append(pods, n)
		default:
			others = append(others, n)
		}
	}
	slices.SortStableFunc(pods, func(a, b node) int { return b.Created.Compare(a.Created) })
	for _, n := range others[:min(len(others), mostOthers)] {
		t := rollout.Trouble{Resource: said(n.Kind + "/" + n.Name), State: said(n.Health.Status + " " + n.Health.Message)}
		r.events(ctx, application, n, &t)
		if made := newest(tree.Nodes, n); len(pods) == 0 && made != nil { // which could not make its pods
			r.events(ctx, application, *made, &t)
		}
		all = append(all, t)
	}
	for _, n := range pods[:min(len(pods), mostPods)] {
		all = append(all, r.pod(ctx, application, n, lines))
	}
	return all
}

// newest is what a resource made last, nil for nothing.
func newest(nodes []node, parent node) *node {
	var found *node
	for i, n := range nodes {
		for _, p := range n.Parents {
			if p.UID == parent.UID && (found == nil || n.Created.After(found.Created)) {
				found = &nodes[i]
			}
		}
	}
	return found
}

// pod tells of a pod.
func (r *REST) pod(ctx context.Context, application string, n node, lines int) rollout.Trouble {
	t := rollout.Trouble{Resource: said("Pod/" + n.Name), State: said(n.Health.Status + " " + n.Health.Message)}
	r.events(ctx, application, n, &t)
	live, err := r.live(ctx, application, n)
	if err != nil {
		t.Note = noted("its state", err)
		return t
	}
	var p pod
	if json.Unmarshal(live, &p) != nil || p.Status.Phase == "" {
		return t
	}
	t.State = p.state()
	c := p.blamed()
	if c == nil || !c.logged() || lines <= 0 {
		return t
	}
	log, err := r.log(ctx, application, n, c.Name, lines)
	if t.Log = log; err != nil {
		t.Note = noted("its log", err)
	}
	return t
}

// live is a resource as it is in the cluster.
func (r *REST) live(ctx context.Context, application string, n node) ([]byte, error) {
	var answer struct {
		Manifest string `json:"manifest"`
	}
	query := url.Values{"namespace": {n.Namespace}, "resourceName": {n.Name}, "version": {n.Version}, "group": {n.Group}, "kind": {n.Kind}}
	if err := r.read(ctx, application, "resource", query, &answer); err != nil {
		return nil, err
	}
	return []byte(answer.Manifest), nil
}

// events adds those of a resource.
func (r *REST) events(ctx context.Context, application string, n node, t *rollout.Trouble) {
	var list struct {
		Items []occurrence `json:"items"`
	}
	query := url.Values{"resourceNamespace": {n.Namespace}, "resourceName": {n.Name}, "resourceUID": {n.UID}}
	if err := r.read(ctx, application, "events", query, &list); err != nil {
		t.Note = noted("its events", err)
		return
	}
	t.Events = append(t.Events, told(list.Items)...)
}

// log are the last lines of a container's.
func (r *REST) log(ctx context.Context, application string, n node, container string, lines int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	namespace, name, err := ParseName(application)
	if err != nil {
		return nil, err
	}
	query := url.Values{"podName": {n.Name}, "namespace": {n.Namespace}, "container": {container}, "tailLines": {strconv.Itoa(lines)}}
	if namespace != "" {
		query.Set("appNamespace", namespace)
	}
	resp, err := r.ask(ctx, r.base.JoinPath("api/v1/applications", name, "logs"), query, application)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	var log bytes.Buffer
	scanner := bufio.NewScanner(io.LimitReader(resp.Body, mostLog))
	scanner.Buffer(nil, mostLog)
	for scanner.Scan() {
		var entry struct {
			Result struct {
				Content string `json:"content"`
			} `json:"result"`
			Error struct {
				Message string `json:"message"`
			} `json:"error"`
		}
		if json.Unmarshal(scanner.Bytes(), &entry) != nil {
			break // cut off
		}
		if entry.Error.Message != "" {
			return tail(log.Bytes(), lines), errors.New(entry.Error.Message)
		}
		log.WriteString(entry.Result.Content + "\n")
	}
	return tail(log.Bytes(), lines), nil
}

// read reads the answer to a question about something below an application.
func (r *REST) read(ctx context.Context, application, below string, query url.Values, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if query == nil {
		query = url.Values{}
	}
	body, err := r.body(ctx, application, below, query)
	if err != nil {
		return err
	}
	if json.Unmarshal(body, answer) != nil {
		return r.strange(application, errors.New("it answers with something that was not asked for"))
	}
	return nil
}
