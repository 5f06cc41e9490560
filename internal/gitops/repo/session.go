package repo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/go-git/go-git/v5/plumbing/format/pktline"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/capability"
	"github.com/go-git/go-git/v5/plumbing/protocol/packp/sideband"
	"github.com/go-git/go-git/v5/plumbing/transport"
)

// hookPatience is how long the hooks after a push may take, when the push itself is reported already. Then, as whenever all
// is said, a service that does not end is ended.
const hookPatience = 10 * time.Second

// commands is go-git's interface over a way to run one of git's two services on a repository. go-git's own ways have no
// limit on the time that connecting takes, and do not tell how a service ended.
type commands func(ctx context.Context, service string) (*process, error)

func (c commands) NewUploadPackSession(*transport.Endpoint, transport.AuthMethod) (transport.UploadPackSession, error) {
	return &session{start: c, service: transport.UploadPackServiceName}, nil
}

func (c commands) NewReceivePackSession(*transport.Endpoint, transport.AuthMethod) (transport.ReceivePackSession, error) {
	return &session{start: c, service: transport.ReceivePackServiceName}, nil
}

// process is a service that runs.
type process struct {
	in    io.WriteCloser
	out   io.Reader
	until func(context.Context) (stop func() bool) // ends it with a context
	wait  func() error                             // an *endError when it failed
	close func() error
}

// endError is how a service ended, and the beginning of what it said. The status is -1 when that is not known.
type endError struct {
	status int
	said   string
}

func (e *endError) Error() string {
	if e.status < 0 {
		return "the server's git ended early"
	}
	return fmt.Sprintf("the server's git ended with status %d", e.status)
}

// session is one run of a service: it tells the refs, and then serves one request.
type session struct {
	start   commands
	service string
	process *process
	refs    *packp.AdvRefs
	asked   bool
	sent    error       // what sending the request met
	free    func() bool // of the request's context
}

func (s *session) AdvertisedReferences() (*packp.AdvRefs, error) {
	return s.AdvertisedReferencesContext(context.Background())
}

func (s *session) AdvertisedReferencesContext(ctx context.Context) (*packp.AdvRefs, error) {
	if s.refs != nil {
		return s.refs, nil
	}
	var err error
	if s.process, err = s.start(ctx, s.service); err != nil {
		return nil, err
	}
	defer s.process.until(ctx)()
	refs := packp.NewAdvRefs()
	var begins snippet
	err = refs.Decode(io.TeeReader(s.answer(), &begins))
	if namesSHA256(begins) {
		return nil, sha256
	}
	empty := errors.Is(err, packp.ErrEmptyAdvRefs)
	switch {
	case err != nil && !empty:
		return nil, s.ended(ctx, err)
	case (empty || refs.IsEmpty()) && s.service == transport.UploadPackServiceName:
		return nil, transport.ErrEmptyRemoteRepository
	}
	transport.FilterUnsupportedCapabilities(refs.Capabilities)
	s.refs = refs
	return refs, nil
}

// answer is what the server sends, up to a limit.
func (s *session) answer() io.Reader {
	return &boundedBody{io.NopCloser(s.process.out), maxAnswer}
}

func (s *session) UploadPack(ctx context.Context, request *packp.UploadPackRequest) (*packp.UploadPackResponse, error) {
	if request.IsEmpty() {
		return nil, transport.ErrEmptyUploadPackRequest
	}
	if err := request.Validate(); err != nil {
		return nil, err
	}
	s.asked, s.free = true, s.process.until(ctx)
	s.sent = errors.Join(
		request.UploadRequest.Encode(s.process.in),
		request.UploadHaves.Encode(s.process.in, true),
		pktline.NewEncoder(s.process.in).EncodeString("done\n"),
		s.process.in.Close(),
	)
	response := packp.NewUploadPackResponse(request)
	if err := response.Decode(io.NopCloser(s.answer())); err != nil {
		return nil, s.ended(ctx, err)
	}
	return response, nil
}

// ReceivePack sends a request and reads the report.
func (s *session) ReceivePack(ctx context.Context, request *packp.ReferenceUpdateRequest) (*packp.ReportStatus, error) {
	s.asked, s.free = true, s.process.until(ctx)
	s.sent = errors.Join(request.Encode(s.process.in), s.process.in.Close())
	answer := s.answer()
	if request.Capabilities.Supports(capability.Sideband64k) {
		demuxer := sideband.NewDemuxer(sideband.Sideband64k, answer)
		demuxer.Progress = request.Progress
		answer = demuxer
	}
	report := packp.NewReportStatus()
	if err := report.Decode(answer); err != nil {
		return nil, s.ended(ctx, err)
	}
	ctx, cancel := context.WithTimeout(ctx, hookPatience)
	defer cancel()
	defer s.process.until(ctx)()
	io.Copy(io.Discard, answer) // its hooks would die of a closed connection
	return report, report.Error()
}

// ended is why there is no answer: time was up, or what reading it met; where it just ended, what the service said then, or
// what sending met. That sending failed is no failure by itself: a service that refuses early stops reading, and one that
// has everything may be gone before it is told that this was all.
func (s *session) ended(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	switch {
	case !isEnd(err):
		return err
	case s.sent != nil && !isEnd(s.sent):
		return cmp.Or(s.process.wait(), s.sent)
	}
	return cmp.Or(s.process.wait(), io.ErrUnexpectedEOF)
}

func isEnd(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, packp.ErrEmptyInput)
}

// over reports whether nothing more comes: only then does a service end that nobody listens to.
func over(answer io.Reader) bool {
	n, err := answer.Read(make([]byte, 1))
	return n == 0 && err == io.EOF
}

// Close takes leave: a service that was asked for nothing is told so, and ends well.
func (s *session) Close() error {
	if s.process == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), hookPatience)
	defer cancel()
	defer s.process.until(ctx)()
	if !s.asked {
		s.process.in.Write(pktline.FlushPkt)
	}
	if s.free != nil {
		s.free()
	}
	return s.process.close()
}
