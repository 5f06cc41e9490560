package buildkit

import (
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"
)

// maxMessage is the largest message that is taken, in bytes; BuildKit sends none larger than 16 MiB.
const maxMessage = 16 << 20

// The codes of gRPC that mean something here (grpc/grpc, doc/statuscodes.md).
const (
	codeOK               = 0
	codeUnknown          = 2
	codeNotFound         = 5
	codeAlreadyExists    = 6
	codePermissionDenied = 7
	codeUnimplemented    = 12
	codeUnauthenticated  = 16
)

// status is how a call ended that was answered.
type status struct {
	code    int
	message string
	details []detail
}

// detail is one more thing that BuildKit says about an error: a JSON document of some type.
type detail struct {
	kind     string
	document []byte
}

func (s *status) Error() string { return s.message }

// errProtocol is the cause when an answer is none of gRPC's.
var errProtocol = errors.New("it does not answer as BuildKit does")

// peer is whom calls go to: gRPC over HTTP/2 (grpc/grpc, doc/PROTOCOL-HTTP2.md).
type peer struct {
	base   *url.URL
	client *http.Client
	agent  string
}

// ask is a call with one message and one answer.
func (p *peer) ask(ctx context.Context, method string, m message) (message, error) {
	c := p.call(ctx, method, nil)
	defer c.Close()
	if err := c.Send(m); err == nil { // if not, the answer says why
		c.closeSend()
	}
	answer, err := c.Receive()
	if errors.Is(err, io.EOF) {
		err = errProtocol
	}
	return answer, err
}

// call begins a call of streams. It never fails: the first message that is received does.
func (p *peer) call(ctx context.Context, method string, header http.Header) *call {
	ctx, cancel := context.WithCancel(ctx)
	body, send := io.Pipe()
	c := &call{send: send, cancel: cancel, answered: make(chan struct{})}
	r := &http.Request{Method: http.MethodPost, URL: p.base.JoinPath(method), Header: header.Clone(), Body: body}
	if r.Header == nil {
		r.Header = http.Header{}
	}
	r.Header.Set("Content-Type", contentType)
	r.Header.Set("TE", "trailers")
	r.Header.Set("User-Agent", p.agent)
	go func() {
		defer close(c.answered)
		c.response, c.err = p.client.Do(r.WithContext(ctx)) //nolint:bodyclose // Close does
		if c.err != nil {
			body.CloseWithError(c.err)
		}
	}()
	return c
}

const contentType = "application/grpc"

// call is one call that goes on: messages in both directions.
type call struct {
	send     *io.PipeWriter
	cancel   context.CancelFunc
	answered chan struct{}
	response *http.Response
	err      error
}

func (c *call) Send(m message) error { return writeMessage(c.send, m) }

func (c *call) closeSend() { c.send.Close() }

// Close ends the call, wherever it is.
func (c *call) Close() {
	c.cancel()
	c.send.CloseWithError(context.Canceled)
	<-c.answered
	if c.response != nil {
		c.response.Body.Close()
	}
}

// head waits for the beginning of the answer.
func (c *call) head() error {
	<-c.answered
	switch {
	case c.err != nil:
		return c.err
	case c.response.StatusCode != http.StatusOK || !strings.HasPrefix(c.response.Header.Get("Content-Type"), contentType):
		return fmt.Errorf("%w, but with %d %s", errProtocol, c.response.StatusCode, http.StatusText(c.response.StatusCode))
	}
	return nil
}

// Receive is the next message, io.EOF after the last one, or a *status.
func (c *call) Receive() (message, error) {
	if err := c.head(); err != nil {
		return nil, err
	}
	m, err := readMessage(c.response.Body)
	if !errors.Is(err, io.EOF) {
		return m, err
	}
	trailer := c.response.Trailer
	if c.response.Header.Get("Grpc-Status") != "" { // an answer of trailers only
		trailer = c.response.Header
	}
	if err := statusOf(trailer); err != nil {
		return nil, err
	}
	return nil, io.EOF
}

// statusOf is what the end of a call says, nil when all is well.
func statusOf(trailer http.Header) error {
	code, err := strconv.Atoi(trailer.Get("Grpc-Status"))
	switch {
	case err != nil:
		return io.ErrUnexpectedEOF
	case code == codeOK:
		return nil
	}
	s := &status{code: code, message: trailer.Get("Grpc-Message")}
	if text, err := url.PathUnescape(s.message); err == nil {
		s.message = text
	}
	raw, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(trailer.Get("Grpc-Status-Details-Bin"), "="))
	if err != nil {
		return s
	}
	_ = message(raw).each(func(field protowire.Number, v value) error { // google.rpc.Status
		if field == 3 {
			var d detail
			_ = v.nested().each(func(field protowire.Number, v value) error { // google.protobuf.Any
				switch field {
				case 1:
					d.kind = v.text()
				case 2:
					d.document = v.bytes
				}
				return nil
			})
			s.details = append(s.details, d)
		}
		return nil
	})
	return s
}

// readMessage reads a message with its head: whether it is compressed, and its length.
func readMessage(r io.Reader) (message, error) {
	var head [5]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return nil, err
	}
	size := binary.BigEndian.Uint32(head[1:])
	if head[0] != 0 || size > maxMessage {
		return nil, errProtocol
	}
	m := make(message, size)
	if _, err := io.ReadFull(r, m); err != nil {
		return nil, errors.Join(io.ErrUnexpectedEOF, err)
	}
	return m, nil
}

func writeMessage(w io.Writer, m message) error {
	framed := binary.BigEndian.AppendUint32(make([]byte, 1, 5+len(m)), uint32(len(m)))
	_, err := w.Write(append(framed, m...))
	return err
}

// exchange is one call that the other side made.
type exchange struct {
	ctx    context.Context
	header http.Header
	body   io.Reader
	w      http.ResponseWriter
}

func (x *exchange) Receive() (message, error) { return readMessage(x.body) }

func (x *exchange) Send(m message) error {
	if err := writeMessage(x.w, m); err != nil {
		return err
	}
	return http.NewResponseController(x.w).Flush()
}

// service are the methods that the other side may call, by their paths.
type service map[string]func(*exchange) error

// ServeHTTP answers one call. An error that is no *status goes over as unknown.
func (s service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", contentType)
	method, known := s[r.URL.Path]
	err := error(&status{code: codeUnimplemented, message: "not offered"})
	if known {
		w.WriteHeader(http.StatusOK)
		_ = http.NewResponseController(w).Flush() // whoever called waits for the head
		err = method(&exchange{r.Context(), r.Header, r.Body, w})
	}
	ended := &status{}
	if err != nil && !errors.As(err, &ended) {
		ended = &status{code: codeUnknown, message: err.Error()}
	}
	w.Header().Set(http.TrailerPrefix+"Grpc-Status", strconv.Itoa(ended.code))
	if ended.message != "" {
		w.Header().Set(http.TrailerPrefix+"Grpc-Message", url.PathEscape(ended.message))
	}
}

// single makes a method of one message and one answer.
func single(answer func(context.Context, message) (message, error)) func(*exchange) error {
	return func(x *exchange) error {
		m, err := x.Receive()
		if err != nil {
			return err
		}
		if m, err = answer(x.ctx, m); err != nil {
			return err
		}
		return x.Send(m)
	}
}
