package kubetest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

const leasesRoot = "/apis/coordination.k8s.io/v1/namespaces/"

// Leases are those of a cluster. The zero value has none. It is an http.Handler too, for tests without a network: then
// everybody is an administrator.
type Leases struct {
	mu      sync.Mutex
	objects map[string]map[string]any // by NAMESPACE/NAME
	version int
}

// Set puts an object in place of a Lease, or takes it away when it is nil, as an administrator would.
func (l *Leases) Set(namespace, name string, object map[string]any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if object == nil {
		delete(l.objects, namespace+"/"+name)
		return
	}
	l.keep(namespace, name, object)
}

// Lease is the object, as it is sent; nil when there is none.
func (l *Leases) Lease(namespace, name string) map[string]any {
	l.mu.Lock()
	defer l.mu.Unlock()
	var copied map[string]any
	raw, _ := json.Marshal(l.objects[namespace+"/"+name])
	_ = json.Unmarshal(raw, &copied)
	return copied
}

func (l *Leases) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	l.serve(w, r, Account{User: Administrator})
}

func (l *Leases) serve(w http.ResponseWriter, r *http.Request, account Account) {
	namespace, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, leasesRoot), "/")
	_, name, _ := strings.Cut(rest, "/")
	verb, right := map[string]string{http.MethodGet: "get", http.MethodPut: "update", http.MethodPost: "create"}[r.Method], namespace+"/"+name
	if verb == "create" {
		right = namespace + "/*"
	}
	if account.User != Administrator && !slices.Contains(account.May, right) {
		refuse(w, http.StatusForbidden, "Forbidden", fmt.Sprintf(
			`leases.coordination.k8s.io %q is forbidden: User %q cannot %s resource "leases" in API group "coordination.k8s.io" in the namespace %q`,
			name, account.User, verb, namespace), name)
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	object, there := l.objects[namespace+"/"+name]
	switch {
	case verb == "create":
		l.create(w, r, namespace)
	case !there:
		refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("leases.coordination.k8s.io %q not found", name), name)
	case verb == "update":
		l.update(w, r, namespace, name, versionOf(object))
	default:
		answer(w, http.StatusOK, object)
	}
}

func (l *Leases) create(w http.ResponseWriter, r *http.Request, namespace string) {
	object, err := readLease(r)
	metadata, _ := object["metadata"].(map[string]any)
	name, _ := metadata["name"].(string)
	switch _, there := l.objects[namespace+"/"+name]; {
	case err == nil && (name == "" || metadata["namespace"] != namespace || versionOf(object) != ""):
		err = fmt.Errorf("no metadata of a new Lease: %v", metadata)
		fallthrough
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, "Invalid", err.Error(), name)
	case there:
		refuse(w, http.StatusConflict, "AlreadyExists", fmt.Sprintf("leases.coordination.k8s.io %q already exists", name), name)
	default:
		answer(w, http.StatusCreated, l.keep(namespace, name, object))
	}
}

func (l *Leases) update(w http.ResponseWriter, r *http.Request, namespace, name, version string) {
	object, err := readLease(r)
	switch {
	case err == nil && versionOf(object) == "":
		err = fmt.Errorf("metadata.resourceVersion: Invalid value: 0x0: must be specified for an update")
		fallthrough
	case err != nil:
		refuse(w, http.StatusUnprocessableEntity, "Invalid", err.Error(), name)
	case versionOf(object) != version:
		refuse(w, http.StatusConflict, "Conflict", fmt.Sprintf(
			"Operation cannot be fulfilled on leases.coordination.k8s.io %q: the object has been modified; please apply your changes to the latest version and try again", name), name)
	default:
		answer(w, http.StatusOK, l.keep(namespace, name, object))
	}
}

// keep stores an object under a new version.
func (l *Leases) keep(namespace, name string, object map[string]any) map[string]any {
	if l.objects == nil {
		l.objects = map[string]map[string]any{}
	}
	l.version++
	metadata, _ := object["metadata"].(map[string]any)
	if metadata == nil {
		metadata = map[string]any{}
	}
	metadata["namespace"], metadata["name"], metadata["resourceVersion"] = namespace, name, strconv.Itoa(l.version)
	object["kind"], object["apiVersion"], object["metadata"] = "Lease", "coordination.k8s.io/v1", metadata
	l.objects[namespace+"/"+name] = object
	return object
}

func versionOf(object map[string]any) string {
	metadata, _ := object["metadata"].(map[string]any)
	version, _ := metadata["resourceVersion"].(string)
	return version
}

// readLease reads and checks a Lease as the API server does (pkg/apis/coordination/validation).
func readLease(r *http.Request) (map[string]any, error) {
	var object map[string]any
	if err := json.NewDecoder(r.Body).Decode(&object); err != nil {
		return nil, err
	}
	if object["kind"] != "Lease" || object["apiVersion"] != "coordination.k8s.io/v1" || r.Header.Get("Content-Type") != "application/json" {
		return nil, fmt.Errorf("no Lease: %v %v %s", object["kind"], object["apiVersion"], r.Header.Get("Content-Type"))
	}
	spec, _ := object["spec"].(map[string]any)
	for _, key := range []string{"acquireTime", "renewTime"} {
		if value, there := spec[key].(string); there {
			if _, err := time.Parse("2006-01-02T15:04:05.000000Z07:00", value); err != nil || len(value) != len("2006-01-02T15:04:05.000000Z") {
				return nil, fmt.Errorf("spec.%s: Invalid value: %q", key, value)
			}
		}
	}
	if seconds, there := spec["leaseDurationSeconds"].(float64); there && seconds <= 0 {
		return nil, fmt.Errorf("spec.leaseDurationSeconds: Invalid value: %v: must be greater than 0", seconds)
	}
	if transitions, there := spec["leaseTransitions"].(float64); there && transitions < 0 {
		return nil, fmt.Errorf("spec.leaseTransitions: Invalid value: %v: must be greater than or equal to 0", transitions)
	}
	return object, nil
}
