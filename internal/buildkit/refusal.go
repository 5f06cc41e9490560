package buildkit

import (
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"

	"github.com/ksera524/imgbump/internal/fault"
)

// refused says what became of a build: what the Dockerfile's line did, what failed here, or why the daemon was not reached.
func (c *Client) refused(r Request, s *session, err error) error {
	var said *status
	var whole *fault.Error
	if cause := s.failure(); cause != nil {
		err = cause
	} else if !errors.As(err, &said) && !errors.As(err, &whole) {
		return c.unreachable(err)
	}
	if errors.As(err, &whole) {
		return err
	}
	f := &fault.Error{What: "build with BuildKit", Where: c.address, Err: err}
	if said == nil {
		return f
	}
	f.Err = errors.New(fault.Said(inside.ReplaceAllString(said.message, ""), maxSaid))
	switch said.code {
	case codePermissionDenied, codeUnauthenticated:
		f.Kind = fault.Denied
	case codeUnimplemented:
		f.Hint = "a newer BuildKit may know it"
	}
	if line := lineOf(said.details); line > 0 {
		f.What, f.Where = "", fmt.Sprintf("%s:%d", r.Name, line)
	}
	return f
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

// tlsAlert is the operation of an error that the other side told in the handshake, as crypto/tls has it.
const tlsAlert = "remote error"

// unreachable says why the daemon does not answer, or no longer does.
func (c *Client) unreachable(err error) error {
	f := &fault.Error{What: "reach BuildKit at", Where: c.address, Err: err, Hint: "is buildkitd running there? " + hintAddress}
	var request *url.Error
	if errors.As(err, &request) { // which names an address that nobody typed
		f.Err = request.Err
	}
	var (
		network   *net.OpError
		call      syscall.Errno
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		whole     *fault.Error
	)
	switch {
	case errors.As(err, &whole): // of the pod
		return err
	case errors.Is(err, os.ErrPermission):
		f.Kind, f.Hint = fault.Denied, "the socket is for its group: buildkitd --group, or run as its user"
	case errors.As(err, &authority):
		f.Err, f.Hint = errors.New("its certificate is signed by an authority that is not trusted here"), "--tlscacert must name the authority of BuildKit's certificate"
	case errors.As(err, &name):
		f.Err, f.Hint = fmt.Errorf("its certificate is for another name: %w", name), "--tlsservername says which name it has"
	case errors.As(err, &network) && network.Op == tlsAlert:
		f.Kind, f.Err, f.Hint = fault.Denied, fmt.Errorf("it does not accept our certificate: %w", network.Err), "--tlscert and --tlskey must be of the authority that buildkitd --tlscacert names"
	case errors.As(err, &network) && network.Op == "dial" && errors.As(err, &call):
		f.Err = call
	case errors.Is(err, errProtocol), errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		f.Err, f.Hint = fmt.Errorf("it does not answer as BuildKit does: %w", err), "is it buildkitd that listens there, and does it want certificates (--tlscacert, --tlscert, --tlskey)?"
	}
	return f
}
