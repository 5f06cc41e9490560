// Package kube reads Secrets from a cluster, runs commands in its pods, elects one of several replicas and lends its way to the
// API server to others, as the pod that we run in or as kubectl's configuration says.
//
// A few requests and one WebSocket need no client library: k8s.io/client-go would bring 577 packages for them.
package kube

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// patience is how long the API server may take, in all.
const patience = 15 * time.Second

// maxAnswer is the largest answer that is read, in bytes; a Secret holds 1 MiB, in base64.
const maxAnswer = 4 << 20

// Name is the namespace and the name of an object.
type Name struct{ Namespace, Name string }

func (n Name) String() string { return n.Namespace + "/" + n.Name }

// validName is what Kubernetes takes for names (RFC 1123, subdomain).
var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// ParseName reads NAMESPACE/NAME.
func ParseName(s string) (Name, error) {
	namespace, name, _ := strings.Cut(s, "/")
	if !validName.MatchString(namespace) || !validName.MatchString(name) {
		return Name{}, fmt.Errorf("%q is not NAMESPACE/NAME, as arc-systems/harbor-auth", s)
	}
	return Name{namespace, name}, nil
}

// Secret is what a Secret holds.
type Secret struct {
	Type string            `json:"type"`
	Data map[string][]byte `json:"data"`
}

// Cluster is the API server of one cluster, and who we are there.
type Cluster struct {
	server *url.URL
	from   string // where the access was configured, for errors
	agent  string // sent as User-Agent
	login  login
	http   *http.Client

	namespace string // where pods are that name none
}

// sign says who sends a request.
func (c *Cluster) sign(r *http.Request) {
	r.Header.Set("User-Agent", c.agent)
	token := c.login.token
	if c.login.file != nil {
		token = c.login.file.token()
	}
	switch {
	case token != "":
		r.Header.Set("Authorization", "Bearer "+token)
	case c.login.username != "":
		r.SetBasicAuth(c.login.username, c.login.password)
	}
}

// login is what says who we are: a bearer token, which a file may have, else a user's password. A client certificate is the
// transport's.
type login struct {
	token, username, password string
	file                      *tokenFile
}

const readSecret = "read secret"

// Secret reads one Secret. An error is of kind fault.Denied when the server does not know us, or we may not read it.
func (c *Cluster) Secret(ctx context.Context, name Name) (Secret, error) {
	limited, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	target := c.server.JoinPath("api/v1/namespaces", name.Namespace, "secrets", name.Name)
	r, err := http.NewRequestWithContext(limited, http.MethodGet, target.String(), nil)
	if err != nil {
		return Secret{}, err
	}
	r.Header.Set("Accept", "application/json")
	c.sign(r)
	resp, err := c.http.Do(r)
	if ctx.Err() != nil {
		return Secret{}, ctx.Err()
	}
	if err != nil {
		return Secret{}, c.unreachable(readSecret, name.String(), err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return Secret{}, c.unreachable(readSecret, name.String(), err)
	}
	var secret struct {
		Kind string `json:"kind"`
		Secret
	}
	if resp.StatusCode != http.StatusOK || json.Unmarshal(body, &secret) != nil || secret.Kind != "Secret" {
		return Secret{}, c.refused(readSecret, name, resp.StatusCode, body)
	}
	return secret.Secret, nil
}
