// Package kubetest is a cluster's API server in the same process, as far as reading Secrets, running commands in pods and
// keeping Leases goes.
package kubetest

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
)

// Account is who may log in, and which secrets that one may read, in which pods run commands and which Leases read and update
// (NAMESPACE/NAME); to make a Lease takes NAMESPACE/*.
type Account struct {
	User  string // "system:serviceaccount:runners:ci"
	Token string
	May   []string
}

// Secret is one Secret of the cluster.
type Secret struct {
	Type string // empty is Opaque
	Data map[string]string
}

// Config is what is in the cluster.
type Config struct {
	Accounts []Account
	Secrets  map[string]Secret              // by NAMESPACE/NAME
	Pods     map[string]func(Command) error // likewise: what runs commands in them
	Leases   *Leases
	// Instead handles a request in place of the API server when it returns true.
	Instead func(http.ResponseWriter, *http.Request) bool
}

// Administrator is the user of whoever shows a client certificate; that one may read all.
const Administrator = "kubernetes-admin"

// Server is a running API server.
type Server struct {
	*httptest.Server
	config Config
}

// New starts an API server with TLS; it runs until Close.
func New(config Config) *Server {
	s := &Server{config: config}
	s.Server = httptest.NewUnstartedServer(s)
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	s.TLS = &tls.Config{ClientAuth: tls.RequestClientCert}
	s.StartTLS()
	return s
}

// CA is the PEM of the authority behind the server's certificate, which names 127.0.0.1 and example.com.
func (s *Server) CA() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// ClientCertificate is the PEM of a certificate and of its key that make the administrator.
func (s *Server) ClientCertificate() (certificate, key []byte) {
	der, err := x509.MarshalPKCS8PrivateKey(s.TLS.Certificates[0].PrivateKey)
	if err != nil {
		panic(err) // httptest's own key
	}
	return s.CA(), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// Kubeconfig is kubectl's configuration for the account with the token.
func (s *Server) Kubeconfig(token string) string {
	return fmt.Sprintf(`apiVersion: v1
kind: Config
current-context: home
contexts:
- name: home
  context: {cluster: home, user: ci}
clusters:
- name: home
  cluster:
    server: %s
    certificate-authority-data: %s
users:
- name: ci
  user:
    token: %s
`, s.URL, base64.StdEncoding.EncodeToString(s.CA()), token)
}

func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.config.Instead != nil && s.config.Instead(w, r) {
		return
	}
	account, known := s.account(r)
	parts := strings.Split(strings.TrimPrefix(r.URL.Path, "/api/v1/namespaces/"), "/")
	switch {
	case !known:
		refuse(w, http.StatusUnauthorized, "Unauthorized", "Unauthorized", "")
		return
	case len(parts) == 4 && parts[1] == "pods" && parts[3] == "exec" && r.Method == http.MethodGet:
		s.exec(w, r, account, parts[0], parts[2])
		return
	case s.config.Leases != nil && strings.HasPrefix(r.URL.Path, leasesRoot):
		s.config.Leases.serve(w, r, account)
		return
	case len(parts) != 3 || parts[1] != "secrets" || r.Method != http.MethodGet:
		refuse(w, http.StatusNotFound, "NotFound", "the server could not find the requested resource", "")
		return
	}
	namespace, name := parts[0], parts[2]
	secret, there := s.config.Secrets[namespace+"/"+name]
	switch {
	case account.User != Administrator && !slices.Contains(account.May, namespace+"/"+name):
		refuse(w, http.StatusForbidden, "Forbidden", fmt.Sprintf(
			`secrets %q is forbidden: User %q cannot get resource "secrets" in API group "" in the namespace %q`, name, account.User, namespace), name)
	case !there:
		refuse(w, http.StatusNotFound, "NotFound", fmt.Sprintf("secrets %q not found", name), name)
	default:
		answer(w, http.StatusOK, secret.object(namespace, name))
	}
}

func (s *Server) account(r *http.Request) (Account, bool) {
	if len(r.TLS.PeerCertificates) > 0 {
		return Account{User: Administrator}, true
	}
	user, password, _ := r.BasicAuth()
	for _, a := range s.config.Accounts {
		if r.Header.Get("Authorization") == "Bearer "+a.Token || user == a.User && password == a.Token {
			return a, true
		}
	}
	return Account{}, false
}

func (s Secret) object(namespace, name string) map[string]any {
	data := map[string][]byte{}
	for key, value := range s.Data {
		data[key] = []byte(value)
	}
	kind := s.Type
	if kind == "" {
		kind = "Opaque"
	}
	return map[string]any{
		"kind": "Secret", "apiVersion": "v1", "metadata": map[string]any{"name": name, "namespace": namespace}, "data": data, "type": kind,
	}
}

// refuse answers with a Status, as the API server does (metav1.Status).
func refuse(w http.ResponseWriter, code int, reason, message, name string) {
	status := map[string]any{
		"kind": "Status", "apiVersion": "v1", "metadata": map[string]any{}, "status": "Failure", "message": message, "reason": reason, "code": code,
	}
	if name != "" {
		status["details"] = map[string]any{"name": name, "kind": "secrets"}
	}
	answer(w, code, status)
}

func answer(w http.ResponseWriter, code int, object map[string]any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	json.NewEncoder(w).Encode(object)
}
