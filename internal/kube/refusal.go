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
	message, ok := statusOf(body)
	if !ok {
		return &fault.Error{What: what, Where: name.String(), Err: fmt.Errorf("%s answers %d %s, and not as an API server does", c.server.Host, code, http.StatusText(code)),
			Hint: "is " + c.server.Host + " the cluster's API server? A proxy or a login page may stand in its place (" + c.from + ")"}
	}
	f := &fault.Error{What: what, Where: name.String(), Err: fmt.Errorf("%s answers %d: %s", c.server.Host, code, message)}
	switch code {
	case http.StatusUnauthorized:
		f.Kind, f.Err = fault.Denied, fmt.Errorf("%s does not accept our login", c.server.Host)
		f.Hint = "the token or certificate may have expired, or be another cluster's (" + c.from + ")"
	case http.StatusForbidden:
		user := userOf(message)
		f.Kind, f.Err = fault.Denied, fmt.Errorf("%s may not get it: a Role is missing", user)
		f.Hint = roleHint + role(name.Namespace, "read-"+name.Name, user, strings.ReplaceAll(secretRules, "NAME", name.Name))
	case http.StatusNotFound:
		f.Err = errors.New("the cluster has no such secret")
		f.Hint = "check NAMESPACE/NAME: kubectl get secrets --namespace " + name.Namespace
	}
	return f
}

// statusOf is the message of a metav1.Status.
func statusOf(body []byte) (message string, ok bool) {
	var status struct {
		Kind    string `json:"kind"`
		Message string `json:"message"`
	}
	ok = json.Unmarshal(body, &status) == nil && status.Kind == "Status"
	return status.Message, ok
}

// userOf is who the API server says that may not do something.
func userOf(message string) string {
	if found := regexp.MustCompile(`User "([^"\\\s]{1,253})"`).FindStringSubmatch(message); found != nil {
		return found[1]
	}
	return "our account"
}

const roleHint = "an administrator of the cluster can allow just that, with kubectl apply -f -:\n"

// secretRules are the least right to read the secret NAME.
const secretRules = `- apiGroups: [""]
  resources: [secrets]
  resourceNames: [NAME]
  verbs: [get]`

// role is the YAML of a Role of rules, and of its binding to the user.
func role(namespace, name, user, rules string) string {
	subject := "{kind: User, name: \"" + user + "\", apiGroup: rbac.authorization.k8s.io}"
	path, isAccount := strings.CutPrefix(user, "system:serviceaccount:")
	home, account, _ := strings.Cut(path, ":")
	if isAccount && validName.MatchString(home) && validName.MatchString(account) {
		subject = "{kind: ServiceAccount, namespace: " + home + ", name: " + account + "}"
	}
	return strings.NewReplacer("NAMESPACE", namespace, "NAME", name, "RULES", rules, "SUBJECT", subject).Replace(
		`apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {namespace: NAMESPACE, name: NAME}
rules:
RULES
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {namespace: NAMESPACE, name: NAME}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: NAME}
subjects:
- SUBJECT`)
}
