package registry

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"syscall"
	"time"
)

// distrusted says what is wrong with the registry's certificate, if that is what failed.
func (s *session) distrusted(err error) (hint string, cause error) {
	var (
		authority x509.UnknownAuthorityError
		hostname  x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &authority):
		return "pass the authority's certificate: --ca-file FILE, or --k8s-ca NAMESPACE/NAME/KEY", fmt.Errorf("its certificate is signed by an authority that is not trusted here%s", issuer(authority.Cert))
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "renew the certificate, or set this machine's clock", fmt.Errorf("its certificate is valid from %s to %s, and the clock here says %s",
			day(invalid.Cert.NotBefore), day(invalid.Cert.NotAfter), day(s.client.now()))
	case errors.As(err, &hostname), errors.As(err, &invalid):
		return "the certificate must name the host that clients use", rootCause(err)
	}
	return "", nil
}

func issuer(of *x509.Certificate) string {
	if of == nil {
		return ""
	}
	return " (" + of.Issuer.String() + ")"
}

func day(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 MST") }

// unreachable says what stood between us and the registry, or the host that it sent us on to.
func (s *session) unreachable(err error) (hint string, cause error) {
	hint, cause = s.obstacle(err)
	var request *url.Error
	if errors.As(err, &request) && !errors.Is(err, errDowngrade) {
		if u, err := url.Parse(request.URL); err == nil && s.challenge != nil && !sameServer(u, s.home()) {
			cause = fmt.Errorf("%s: %w", u.Host, cause)
		}
	}
	return hint, cause
}

func (s *session) obstacle(err error) (hint string, cause error) {
	var (
		dns     *net.DNSError
		dial    *net.OpError
		timeout net.Error
		silent  silence
	)
	switch {
	case errors.As(err, &silent):
		return hintRunning, silent
	case errors.As(err, &dial) && dial.Op == "proxyconnect": // net/http's word for a proxy that cannot be reached
		return hintProxy, fmt.Errorf("reach the proxy: %w", dial.Err)
	case errors.Is(err, errProxy):
		return hintProxy, rootCause(err)
	case errors.Is(err, errElsewhere):
		return "set Harbor's external_url to the name that clients use", rootCause(err)
	case errors.Is(err, errDowngrade):
		return "Harbor's external_url must begin with https://, and a proxy that ends TLS must send X-Forwarded-Proto", errDowngrade
	case errors.Is(err, http.ErrSchemeMismatch) && !s.client.plain(s.host):
		return hintPlainHTTP, errors.New("it speaks plain HTTP, without TLS")
	case errors.As(err, &dns):
		return "check the spelling, in HARBOR_URL too, or name its address: --resolve " + s.host + ":ADDRESS", fmt.Errorf("look up %s: %s", dns.Name, dns.Err)
	case errors.Is(err, syscall.ECONNREFUSED):
		return "is the registry running, and is this its port?", errors.New("connection refused")
	case errors.As(err, &timeout) && timeout.Timeout(), errors.Is(err, context.DeadlineExceeded):
		return hintRunning, errors.New("no answer in time")
	case errors.As(err, &dial):
		return "", dial
	}
	return "", rootCause(err)
}

var (
	errProxy     = errors.New("the proxy refuses")
	errElsewhere = errors.New("sends its clients on to")
	errDowngrade = errors.New("it sends its clients on to http://, without TLS")
)

// throughProxy reports a proxy that does not open the way to a registry.
func throughProxy(_ context.Context, _ *url.URL, connect *http.Request, answer *http.Response) error {
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("%w to reach %s: %d %s", errProxy, connect.Host, answer.StatusCode, http.StatusText(answer.StatusCode))
	}
	return nil
}

// rootCause drops the URL that net/http puts around an error: upload URLs are long, and tell nothing.
func rootCause(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}
