package buildkit

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// refused says what became of a build: what the Dockerfile's line did, or why the daemon does not answer.
func (c *Client) refused(s *session, err error) error {
	var said *status
	var ours *fault.Error
	switch {
	case errors.As(err, &ours):
		return ours
	case !errors.As(err, &said) && !s.begun:
		return c.unreachable(err)
	}
	f := &fault.Error{What: "build with BuildKit", Where: c.address}
	if said == nil {
		f.Err, f.Hint = fmt.Errorf("it went away: %w", cause(err)), "was buildkitd stopped, or out of memory?"
		return f
	}
	f.Err = errors.New(fault.Said(inside.ReplaceAllString(said.message, ""), maxSaid))
	switch said.code {
	case codePermissionDenied, codeUnauthenticated:
		f.Kind = fault.Denied
	case codeUnimplemented:
		f.Hint = "a newer BuildKit may know it"
	}
	if s.request.hostNetwork() {
		f.Hint = "buildkitd must allow it: --allow-insecure-entitlement network.host"
	}
	if line := lineOf(said.details); line > 0 {
		f.What, f.Where = "", fmt.Sprintf("%s:%d", s.request.Name, line)
	}
	return f
}

// cause is err without the address that nobody typed.
func cause(err error) error {
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

// inside is what BuildKit says of its own inside before it says what is wrong.
var inside = regexp.MustCompile(`^(dockerfile parse error on line \d+: |failed to compute cache key: |failed to calculate checksum of ref \S+: )+`)

// maxSaid is how much of what the daemon says is passed on, in bytes.
const maxSaid = 2000

// lineOf is the first line of the Dockerfile that BuildKit blames, 0 without one (moby/buildkit, solver/errdefs).
func lineOf(details []detail) int {
	for _, d := range details {
		if !strings.HasSuffix(d.kind, "errdefs.Source+json") {
			continue
		}
		var source struct {
			Ranges []struct {
				Start struct {
					Line int `json:"line"`
				} `json:"start"`
			} `json:"ranges"`
		}
		if json.Unmarshal(d.document, &source) == nil && len(source.Ranges) > 0 {
			return source.Ranges[0].Start.Line
		}
	}
	return 0
}

// greeted asks once more why a connection with certificates fails, nil when it does not or there are none: a daemon refuses
// ours when the connection seems to stand, and the first request may fail before that is read.
func (c *Client) greeted() error {
	if c.tls == nil {
		return nil
	}
	d := tls.Dialer{NetDialer: &net.Dialer{Timeout: dialTimeout}, Config: c.tls}
	conn, err := d.Dial("tcp", strings.TrimPrefix(c.address, "tcp://"))
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetReadDeadline(time.Now().Add(dialTimeout))
	_, err = conn.Read(make([]byte, 1)) // HTTP/2 servers speak first
	return err
}

const hintListens = "is it buildkitd that listens there, and does it want certificates (--tlscacert, --tlscert, --tlskey)?"

// tlsAlert is the operation of an error that the other side told in the handshake, as crypto/tls has it.
const tlsAlert = "remote error"

// unreachable says why the daemon does not answer.
func (c *Client) unreachable(err error) error {
	if said := c.greeted(); said != nil {
		err = said
	}
	f := &fault.Error{What: "reach BuildKit at", Where: c.address, Err: cause(err), Hint: "is buildkitd running there? " + hintAddress}
	var (
		network   *net.OpError
		call      syscall.Errno
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
	)
	switch {
	case errors.Is(err, os.ErrPermission):
		f.Kind, f.Err, f.Hint = fault.Denied, os.ErrPermission, "the socket is for its group: buildkitd --group, or run as its user"
	case errors.As(err, &authority):
		f.Err, f.Hint = errors.New("its certificate is signed by an authority that is not trusted here"), "--tlscacert must name the authority of BuildKit's certificate"
	case errors.As(err, &name):
		f.Err, f.Hint = fmt.Errorf("its certificate is for another name: %w", name), "--tlsservername says which name it has"
	case errors.As(err, &network) && network.Op == tlsAlert:
		f.Kind, f.Err, f.Hint = fault.Denied, fmt.Errorf("it does not accept our certificate: %w", network.Err), "--tlscert and --tlskey must be of the authority that buildkitd --tlscacert names"
	case errors.As(err, &network) && network.Op == "dial":
		if errors.As(err, &call) {
			f.Err = call
		}
	case errors.Is(err, errProtocol):
		f.Hint = hintListens
	default: // something listens
		f.Err, f.Hint = fmt.Errorf("%w: %w", errProtocol, cause(err)), hintListens
	}
	return f
}
