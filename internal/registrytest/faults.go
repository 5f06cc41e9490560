package registrytest

import (
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// Fault is what goes wrong with some requests, once or more often. One of its fields says how.
type Fault struct {
	Method, Path string // the requests it meets: their method, and a part of their path; "" is any
	After        int    // so many of them are served well before
	Times        int    // so many meet the fault; 0 is one

	Drop       int64  // the connection ends when so many bytes of a blob have arrived; at once for other content
	Unanswered bool   // the request is served, and the connection ends before the answer
	Status     int    // the answer, with RetryAfter when that is set
	RetryAfter string // seconds
	Truncate   bool   // half of the body, or of the answer to a GET, is lost on the way
	Slow       bool   // the body is read in small pieces

	met int
}

// fault is the first of the faults that the request meets, or nil.
func (s *Server) fault(r *http.Request) *Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.config.Faults {
		if f.Method != "" && f.Method != r.Method || !strings.Contains(r.URL.Path, f.Path) {
			continue
		}
		if f.met++; f.met > f.After && f.met <= f.After+max(1, f.Times) {
			return f
		}
	}
	return nil
}

// spoil serves the request as far as the fault lets it.
func (f *Fault) spoil(w http.ResponseWriter, r *http.Request, serve http.HandlerFunc) {
	switch {
	case f.Status != 0:
		io.Copy(io.Discard, r.Body)
		if f.RetryAfter != "" {
			w.Header().Set("Retry-After", f.RetryAfter)
		}
		w.WriteHeader(f.Status)
	case f.Unanswered:
		serve(headers{}, r)
		panic(http.ErrAbortHandler)
	case f.Drop > 0 && !strings.Contains(r.URL.Path, "/uploads/"):
		panic(http.ErrAbortHandler)
	case f.Drop > 0:
		r.Body = &broken{r.Body, f.Drop}
		serve(w, r)
	case f.Slow:
		r.Body = &pieces{r.Body}
		serve(w, r)
	case r.Method == http.MethodGet:
		serve(&half{ResponseWriter: w}, r)
		panic(http.ErrAbortHandler)
	default:
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(strings.NewReader(string(body[:len(body)/2])))
		serve(w, r)
	}
}

// broken is a body that ends in the middle.
type broken struct {
	io.ReadCloser
	left int64
}

func (b *broken) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errors.New("the connection broke")
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}

// pieces is a body that comes a few bytes at a time.
type pieces struct{ io.ReadCloser }

func (b *pieces) Read(p []byte) (int, error) { return b.ReadCloser.Read(p[:min(len(p), 100)]) }

// half lets half of an answer's body through.
type half struct {
	http.ResponseWriter
	left int64
}

func (h *half) WriteHeader(status int) {
	if size, err := strconv.ParseInt(h.Header().Get("Content-Length"), 10, 64); err == nil {
		h.left = size / 2
	}
	h.ResponseWriter.WriteHeader(status)
}

func (h *half) Write(p []byte) (int, error) {
	n := min(int64(len(p)), h.left)
	h.left -= n
	h.ResponseWriter.Write(p[:n])
	return len(p), nil
}
