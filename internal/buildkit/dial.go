package buildkit

import (
	"cmp"
	"context"
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
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// TLS are the files with which a daemon at tcp:// is reached, by the names that buildctl has for them: Dir holds ca.pem
// or ca.crt, cert.pem or tls.crt, key.pem or tls.key; the others name them one by one.
type TLS struct {
	Dir, CA, Certificate, Key string
	ServerName                string // in the daemon's certificate; empty is the address' host
}

// Options say which daemon it is, and how it is reached.
type Options struct {
	Address string // as BUILDKIT_HOST has it: unix://PATH, tcp://HOST:PORT or kube-pod://POD
	TLS     TLS
	Agent   string // sent with every call

	// Pod connects to standard input and output of a command in a pod; without it there is no kube-pod://.
	Pod func(ctx context.Context, pod Pod, command ...string) (net.Conn, error)
}

// Pod is where kube-pod://POD?namespace=N&container=C leads. Namespace and Container may be empty.
type Pod struct{ Namespace, Name, Container string }

// Client reaches one daemon. It is safe for use by several goroutines.
type Client struct {
	address string
	peer    peer
	tls     *tls.Config // nil without certificates
}

const (
	dialTimeout = 8 * time.Second
	hintAddress = "BUILDKIT_HOST is unix:///run/buildkit/buildkitd.sock, tcp://HOST:PORT or kube-pod://POD?namespace=NAMESPACE"
)

// New is a client of the daemon at an address; it sends nothing before it is asked to.
func New(o Options) (*Client, error) {
	u, err := url.Parse(o.Address)
	if err != nil || u.User != nil {
		return nil, fault.Usagef(hintAddress, "BUILDKIT_HOST is no address of BuildKit")
	}
	c := &Client{address: o.Address, peer: peer{base: &url.URL{Scheme: "http", Host: "buildkit", Path: "/"}, agent: o.Agent}}
	protocols := new(http.Protocols)
	t := &http.Transport{Protocols: protocols, HTTP2: windows()}
	c.peer.client = &http.Client{Transport: t, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if o.TLS != (TLS{}) {
		if u.Scheme != "tcp" {
			return nil, fault.Usagef("leave them out", "certificates are for tcp://, not for %s", o.Address)
		}
		if c.tls, err = o.TLS.config(u.Hostname()); err != nil {
			return nil, err
		}
		t.TLSClientConfig = c.tls.Clone()
		c.peer.base.Scheme = "https"
		protocols.SetHTTP2(true)
	} else {
		protocols.SetUnencryptedHTTP2(true)
	}
	t.DialContext, err = o.dialer(u)
	return c, err
}

// windows let much be on its way, and notice within a minute that the other side is gone.
func windows() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxReceiveBufferPerConnection: 16 << 20,
		MaxReceiveBufferPerStream:     4 << 20,
		SendPingTimeout:               20 * time.Second,
		PingTimeout:                   20 * time.Second,
	}
}

// dialer connects to where an address leads.
func (o Options) dialer(u *url.URL) (func(ctx context.Context, network, address string) (net.Conn, error), error) {
	d := &net.Dialer{Timeout: dialTimeout}
	switch u.Scheme {
	case "unix":
		path := u.Host + u.Path
		return func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "unix", path) }, nil
	case "tcp":
		if u.Port() == "" || u.Path != "" {
			return nil, fault.Usagef(hintAddress, "%s is not tcp://HOST:PORT", o.Address)
		}
		return func(ctx context.Context, _, _ string) (net.Conn, error) { return d.DialContext(ctx, "tcp", u.Host) }, nil
	case "kube-pod":
		q := u.Query()
		pod := Pod{q.Get("namespace"), u.Hostname(), q.Get("container")}
		switch {
		case o.Pod == nil || pod.Name == "":
			return nil, fault.Usagef(hintAddress, "%s names no pod", o.Address)
		case q.Get("context") != "":
			return nil, fault.Usagef("choose it with kubectl config use-context", "%s: the cluster is that of the current context", o.Address)
		}
		return func(ctx context.Context, _, _ string) (net.Conn, error) {
			return o.Pod(ctx, pod, "buildctl", "dial-stdio")
		}, nil
	case "docker-container", "podman-container", "nerdctl-container", "ssh":
		return nil, fault.Usagef("let buildkitd listen: --addr tcp://0.0.0.0:1234 with --tlscacert, --tlscert and --tlskey",
			"%s:// needs a program that is not needed here", u.Scheme)
	}
	return nil, fault.Usagef(hintAddress, "BUILDKIT_HOST %q is no address of BuildKit", o.Address)
}

// config trusts the daemon's authority and nobody else's; without CA the system's.
func (t TLS) config(host string) (*tls.Config, error) {
	t, err := t.resolved()
	if err != nil {
		return nil, err
	}
	config := &tls.Config{ServerName: cmp.Or(t.ServerName, host), MinVersion: tls.VersionTLS12, NextProtos: []string{"h2"}}
	if t.CA != "" {
		pem, err := os.ReadFile(t.CA)
		if err == nil {
			config.RootCAs = x509.NewCertPool()
			if !config.RootCAs.AppendCertsFromPEM(pem) {
				err = errors.New("it holds no certificate")
			}
		}
		if err != nil {
			return nil, unreadable(t.CA, err)
		}
	}
	if t.Certificate == "" && t.Key == "" {
		return config, nil
	}
	pair, err := tls.LoadX509KeyPair(t.Certificate, t.Key)
	if err != nil {
		return nil, unreadable(t.Certificate+" and "+t.Key, err)
	}
	config.Certificates = []tls.Certificate{pair}
	return config, nil
}

func unreadable(where string, err error) error {
	return &fault.Error{Kind: fault.Usage, What: "read", Where: where, Err: fault.Cause(err), Hint: "they are PEM files, as for buildctl --tlscacert, --tlscert and --tlskey"}
}

// resolved are the files by their names.
func (t TLS) resolved() (TLS, error) {
	if t.Dir == "" {
		return t, nil
	}
	if t.CA != "" || t.Certificate != "" || t.Key != "" {
		return t, fault.Usagef("name the folder or the files", "the folder of certificates and files beside it")
	}
	for _, f := range []struct {
		into  *string
		names []string
	}{{&t.CA, []string{"ca.pem", "ca.crt"}}, {&t.Certificate, []string{"cert.pem", "tls.crt"}}, {&t.Key, []string{"key.pem", "tls.key"}}} {
		for _, name := range f.names {
			if path := filepath.Join(t.Dir, name); *f.into == "" {
				if _, err := os.Stat(path); err == nil {
					*f.into = path
				}
			}
		}
		if *f.into == "" {
			return t, unreadable(t.Dir, fmt.Errorf("there is no %s", strings.Join(f.names, " or ")))
		}
	}
	return t, nil
}
