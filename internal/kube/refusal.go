package kube

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// unreachable says why there was no answer.
func (c *Cluster) unreachable(what, where string, err error) error {
	f := &fault.Error{What: what, Where: where, Hint: "is the API server running, and the cluster's address right? (" + c.from + ")"}
	var (
		authority x509.UnknownAuthorityError
		dns       *net.DNSError
		timeout   net.Error
		request   *url.Error
		cause     = err
	)
	if errors.As(err, &request) { // the address is said once
		cause = request.Err
	}
	switch {
	case errors.As(err, &authority):
		f.Hint = "certificate-authority-data must be the cluster's (" + c.from + ")"
		cause = errors.New("its certificate is signed by an authority that is not trusted here")
	case errors.As(err, &dns):
		cause = fmt.Errorf("look up %s: %s", dns.Name, dns.Err)
	case errors.As(err, &timeout) && timeout.Timeout():
		cause = fmt.Errorf("no answer within %v", patience)
	}
	f.Err = fmt.Errorf("reach the API server %s: %w", c.server.Host, cause)
	return f
}

// refused says what an answer means that is not what was asked for, by its status; the reasons are those of the Kubernetes API
// (metav1.Status).
func (c *Cluster) refused(what string, name Name, code int, body []byte) error {
	var status struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &status) != nil || status.Kind != "Status" {
		return &fault.Error{What: what, Where: name.String(), Err: fmt.Errorf("%s answers %d %s, and not as an API server does", c.server.Host, code, http.StatusText(code)),
			Hint: "is " + c.server.Host + " the cluster's API server? A proxy or a login page may stand in its place (" + c.from + ")"}
	}
	f := &fault.Error{What: what, Where: name.String(), Err: fmt.Errorf("%s answers %d: %s", c.server.Host, code, status.Message)}
	switch code {
	case http.StatusUnauthorized:
		f.Kind, f.Err = fault.Denied, fmt.Errorf("%s does not accept our login", c.server.Host)
		f.Hint = "the token or certificate may have expired, or be another cluster's (" + c.from + ")"
	case http.StatusForbidden:
		user := userOf(status.Message)
		f.Kind, f.Err = fault.Denied, fmt.Errorf("%s may not get it: a Role is missing", user)
		f.Hint = "an administrator of the cluster can allow just that, with kubectl apply -f -:\n" + role(name, user)
	case http.StatusNotFound:
		f.Err = errors.New("the cluster has no such secret")
		f.Hint = "check NAMESPACE/NAME: kubectl get secrets --namespace " + name.Namespace
	}
	return f
}

// userOf is who the API server says that may not do something.
func userOf(message string) string {
	if found := regexp.MustCompile(`User "([^"\\\s]{1,253})"`).FindStringSubmatch(message); found != nil {
		return found[1]
	}
	return "our account"
}

// role is the YAML of the least right to read the secret, and of its binding to the user.
func role(name Name, user string) string {
	subject := "{kind: User, name: \"" + user + "\", apiGroup: rbac.authorization.k8s.io}"
	path, isAccount := strings.CutPrefix(user, "system:serviceaccount:")
	namespace, account, _ := strings.Cut(path, ":")
	if isAccount && validName.MatchString(namespace) && validName.MatchString(account) {
		subject = "{kind: ServiceAccount, namespace: " + namespace + ", name: " + account + "}"
	}
	return strings.NewReplacer("NAMESPACE", name.Namespace, "SECRET", name.Name, "SUBJECT", subject).Replace(
		`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {namespace: NAMESPACE, name: read-SECRET}
rules:
- apiGroups: [""]
  resources: [secrets]
  resourceNames: [SECRET]
  verbs: [get]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {namespace: NAMESPACE, name: read-SECRET}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: read-SECRET}
subjects:
- SUBJECT`)
}
