package kube

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// Pod is where a command runs: a pod's container. Without a namespace it is the one that the access was configured for,
// without a container the pod's default one.
type Pod struct{ Namespace, Name, Container string }

// The protocols of the API server for a command's streams, the better one first (kubernetes, pkg/util/remotecommand).
const protocols = "v5.channel.k8s.io, v4.channel.k8s.io"

// Exec runs a command in a pod and connects to its standard input and output. An error is of kind fault.Denied when we may
// not do that.
func (c *Cluster) Exec(ctx context.Context, pod Pod, command ...string) (net.Conn, error) {
	if pod.Namespace == "" {
		pod.Namespace = c.namespace
	}
	where := Name{pod.Namespace, pod.Name}
	if !validName.MatchString(pod.Namespace) || !validName.MatchString(pod.Name) || pod.Container != "" && !validName.MatchString(pod.Container) {
		return nil, fault.Usagef("", "%q is no name of a pod", where.String())
	}
	target := c.server.JoinPath("api/v1/namespaces", pod.Namespace, "pods", pod.Name, "exec")
	query := url.Values{"command": command, "stdin": {"true"}, "stdout": {"true"}, "stderr": {"true"}}
	if pod.Container != "" {
		query.Set("container", pod.Container)
	}
	target.RawQuery = query.Encode()
	limited, cancel := context.WithCancel(ctx)
	timer := time.AfterFunc(patience, cancel) // of the answer's head; the connection stays
	defer timer.Stop()
	r, err := http.NewRequestWithContext(limited, http.MethodGet, target.String(), nil)
	if err != nil {
		return nil, err
	}
	c.sign(r)
	for key, value := range map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13",
		"Sec-WebSocket-Protocol": protocols, "Sec-WebSocket-Key": base64.StdEncoding.EncodeToString([]byte(rand.Text()[:16]))} {
		r.Header.Set(key, value)
	}
	resp, err := c.http.Do(r) //nolint:bodyclose // it is the connection
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case err != nil:
		return nil, c.unreachable("run a command in pod", where.String(), err)
	}
	stream, ok := resp.Body.(io.ReadWriteCloser)
	if resp.StatusCode != http.StatusSwitchingProtocols || !ok {
		body, _ := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
		resp.Body.Close()
		return nil, c.refusedExec(where, resp.StatusCode, body)
	}
	return &execution{stream: stream, where: where}, nil
}

// The channels of a command's streams: the first byte of each message.
const (
	channelInput  = 0
	channelOutput = 1
	channelErrors = 2
	channelStatus = 3
)

// execution is a command that runs in a pod. Reading and writing are for one goroutine each.
type execution struct {
	stream io.ReadWriteCloser
	where  Name
	said   bytes.Buffer // standard error, the beginning of it
	rest   []byte       // of standard output
	over   error

	mu sync.Mutex // of what is written to stream
}

// Read reads from standard output. When the command has ended otherwise than well, the error says how.
func (e *execution) Read(p []byte) (int, error) {
	for len(e.rest) == 0 && e.over == nil {
		m, err := e.message()
		switch {
		case err != nil:
			e.over = err
		case len(m) == 0:
		case m[0] == channelOutput:
			e.rest = m[1:]
		case m[0] == channelErrors && e.said.Len() < maxSaid:
			e.said.Write(m[1:])
		case m[0] == channelStatus:
			e.over = e.ended(m[1:])
		}
	}
	if len(e.rest) == 0 {
		return 0, e.over
	}
	n := copy(p, e.rest)
	e.rest = e.rest[n:]
	return n, nil
}

// maxSaid is how much of what a command says an error tells, in bytes.
const maxSaid = 1000

// ended is what the last message says, a metav1.Status.
func (e *execution) ended(raw []byte) error {
	var status struct{ Status, Message string }
	if json.Unmarshal(raw, &status) != nil || status.Status == "Success" {
		return io.EOF
	}
	said := status.Message
	if e.said.Len() > 0 {
		said += ": " + e.said.String()
	}
	return &fault.Error{What: "run a command in pod", Where: e.where.String(), Err: errors.New(fault.Said(said, maxSaid))}
}

// Write writes to standard input.
func (e *execution) Write(p []byte) (int, error) {
	for part := p; len(part) > 0; {
		n := min(len(part), maxFrame-1)
		if err := e.send(binaryFrame, append([]byte{channelInput}, part[:n]...)); err != nil {
			return len(p) - len(part), err
		}
		part = part[n:]
	}
	return len(p), nil
}

// Close ends the command, for nobody is there any more for its streams.
func (e *execution) Close() error {
	_ = e.send(closeFrame, nil)
	return e.stream.Close()
}

func (e *execution) LocalAddr() net.Addr              { return e }
func (e *execution) RemoteAddr() net.Addr             { return e }
func (e *execution) SetDeadline(time.Time) error      { return nil }
func (e *execution) SetReadDeadline(time.Time) error  { return nil }
func (e *execution) SetWriteDeadline(time.Time) error { return nil }
func (e *execution) Network() string                  { return "exec" }
func (e *execution) String() string                   { return e.where.String() }

// refusedExec says what an answer means that is no connection.
func (c *Cluster) refusedExec(pod Name, code int, body []byte) error {
	err := c.refused("run a command in pod", pod, code, body)
	var f *fault.Error
	if !errors.As(err, &f) {
		return err
	}
	switch code {
	case http.StatusForbidden:
		f.Hint = fmt.Sprintf("a Role in namespace %s must allow the verbs get and create on pods/exec", pod.Namespace)
	case http.StatusNotFound:
		f.Err = errors.New("the cluster has no such pod")
		f.Hint = "kubectl get pods --namespace " + pod.Namespace
	}
	return f
}
