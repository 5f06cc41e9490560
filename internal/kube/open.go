package kube

import (
	"bytes"
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// accountFolder is where a pod finds its service account's token and the cluster's authority.
const accountFolder = "/var/run/secrets/kubernetes.io/serviceaccount"

// Open finds the cluster as kubectl does: in the files of KUBECONFIG, else in ~/.kube/config, else it is that of the pod
// that we run in. It sends nothing yet. Requests name the user agent.
func Open(getenv func(string) string, agent string) (*Cluster, error) {
	c, err := open(getenv, accountFolder)
	if err == nil {
		c.agent = agent
	}
	return c, err
}

func open(getenv func(string) string, account string) (*Cluster, error) {
	files := filepath.SplitList(getenv("KUBECONFIG"))
	if home := getenv("HOME"); len(files) == 0 && home != "" {
		files = []string{filepath.Join(home, ".kube", "config")}
	}
	config, err := readConfig(files)
	switch {
	case err != nil:
		return nil, err
	case len(config.files) > 0:
		return config.open()
	case getenv("KUBECONFIG") != "":
		return nil, fault.Usagef("correct KUBECONFIG, or unset it", "KUBECONFIG names no file that is there: %s", getenv("KUBECONFIG"))
	case getenv("KUBERNETES_SERVICE_HOST") != "":
		return inPod(net.JoinHostPort(getenv("KUBERNETES_SERVICE_HOST"), cmp.Or(getenv("KUBERNETES_SERVICE_PORT"), "443")), account)
	}
	return nil, fault.Usagef("set KUBECONFIG, or run in a pod of the cluster", "no cluster is known: there is no KUBECONFIG and no ~/.kube/config, and this is no pod")
}

// inPod is the cluster that runs us. It is near, so no proxy is asked.
func inPod(host, account string) (*Cluster, error) {
	const hint = "the pod must not have automountServiceAccountToken: false"
	token := &tokenFile{path: filepath.Join(account, "token")}
	if _, err := os.ReadFile(token.path); err != nil {
		return nil, &fault.Error{Kind: fault.Denied, What: "read the pod's service account", Err: err, Hint: hint}
	}
	ca, err := os.ReadFile(filepath.Join(account, "ca.crt"))
	if err != nil {
		return nil, &fault.Error{Kind: fault.Denied, What: "read the pod's service account", Err: err, Hint: hint}
	}
	namespace, _ := os.ReadFile(filepath.Join(account, "namespace"))
	roots, err := authorities(ca)
	if err != nil {
		return nil, &fault.Error{What: "read", Where: filepath.Join(account, "ca.crt"), Err: err}
	}
	return &Cluster{
		server: &url.URL{Scheme: "https", Host: host}, from: "the pod's service account",
		namespace: cmp.Or(strings.TrimSpace(string(namespace)), defaultNamespace),
		login:     login{file: token}, http: client(&tls.Config{RootCAs: roots}, nil),
	}, nil
}

// open is the cluster of the current context.
func (k *kubeconfig) open() (*Cluster, error) {
	where := strings.Join(k.files, string(filepath.ListSeparator))
	cl, u, err := k.current()
	if err != nil {
		return nil, broken(where, err)
	}
	c := &Cluster{from: fmt.Sprintf("context %s of %s", k.CurrentContext, where), namespace: k.namespace()}
	if c.server, err = cl.address(); err != nil {
		return nil, broken(where, err)
	}
	proxy := http.ProxyFromEnvironment
	if cl.Cluster.ProxyURL != "" {
		through, err := url.Parse(cl.Cluster.ProxyURL)
		if err != nil {
			return nil, broken(where, fmt.Errorf("the proxy-url of cluster %s is no address", cl.Name)) // it may hold a password
		}
		proxy = http.ProxyURL(through)
	}
	config, err := cl.trust()
	if err != nil {
		return nil, broken(where, err)
	}
	if config.Certificates, err = u.certificates(); err != nil {
		return nil, broken(where, err)
	}
	if c.login, err = u.login(); err != nil {
		return nil, broken(where, err)
	}
	c.http = client(config, proxy)
	return c, nil
}

// address is the API server's. A login must not travel unencrypted, but to this machine, where kubectl proxy listens.
func (c cluster) address() (*url.URL, error) {
	u, err := url.Parse(c.Cluster.Server)
	switch {
	case err != nil || u.Host == "" || u.User != nil:
		return nil, fmt.Errorf("the server of cluster %s is no https:// address", c.Name)
	case u.Scheme == "http" && (u.Hostname() == "localhost" || net.ParseIP(u.Hostname()).IsLoopback()):
	case u.Scheme != "https":
		return nil, fmt.Errorf("the server of cluster %s is no https:// address", c.Name)
	case c.Cluster.Insecure:
		return nil, fmt.Errorf("cluster %s has insecure-skip-tls-verify, with which anybody could take the login: name its certificate-authority", c.Name)
	}
	return u, nil
}

// trust is the cluster's own authority, else the system's.
func (c cluster) trust() (*tls.Config, error) {
	config := &tls.Config{ServerName: c.Cluster.ServerName}
	ca, err := content(c.Cluster.CAData, c.Cluster.CA)
	if err != nil || ca == nil {
		return config, err
	}
	if config.RootCAs, err = authorities(ca); err != nil {
		return nil, fmt.Errorf("the certificate authority of cluster %s: %w", c.Name, err)
	}
	return config, nil
}

// certificates are those that say who the user is.
func (u user) certificates() ([]tls.Certificate, error) {
	certificate, err := content(u.User.CertificateData, u.User.Certificate)
	if err != nil || certificate == nil {
		return nil, err
	}
	key, err := content(u.User.KeyData, u.User.Key)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, fmt.Errorf("the client certificate of user %s: %w", u.Name, err)
	}
	return []tls.Certificate{pair}, nil
}

// login is how the user says who he is, if not by a certificate. What kubectl would run a program for is refused: a
// file of settings should not start programs here.
func (u user) login() (login, error) {
	switch {
	case u.User.Exec.Command != "" || u.User.AuthProvider.Name != "":
		return login{}, fmt.Errorf("user %s logs in with a plugin (%s), which is not run here: use a token (kubectl create token), or kubectl proxy with server: http://127.0.0.1:8001",
			u.Name, cmp.Or(u.User.Exec.Command, u.User.AuthProvider.Name))
	case u.User.As != "":
		return login{}, fmt.Errorf("user %s acts as another (%s), which is not done here", u.Name, u.User.As)
	}
	l := login{token: u.User.Token, username: u.User.Username, password: u.User.Password}
	token, err := content(nil, u.User.TokenFile)
	if err == nil && len(bytes.TrimSpace(token)) > 0 {
		l.file = &tokenFile{path: u.User.TokenFile}
	}
	return l, err
}

// content is data, else what the file holds, nil without either.
func content(data []byte, file string) ([]byte, error) {
	if len(data) > 0 || file == "" {
		return data, nil
	}
	return os.ReadFile(file)
}

func authorities(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("it holds no certificate")
	}
	return pool, nil
}

// client follows no redirect: an API server sends none, and the login is for it alone.
func client(config *tls.Config, proxy func(*http.Request) (*url.URL, error)) *http.Client {
	config.MinVersion = tls.VersionTLS12
	return &http.Client{
		Transport:     &http.Transport{Proxy: proxy, TLSClientConfig: config},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
