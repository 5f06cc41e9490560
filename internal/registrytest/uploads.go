package registrytest

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"

	v1 "github.com/google/go-containerregistry/pkg/v1"
)

// upload serves the requests of an upload as distribution 2.8 does, which is what Harbor runs: the Location of each answer
// has a state in it, the state knows how much was received, and what broke in between is refused and dropped. With
// Config.Resumable the registry tells instead how much it has, as others do.
func (s *Server) upload(w http.ResponseWriter, r *http.Request, t target) bool {
	if t.kind != "blobs" || !strings.HasPrefix(t.name, "uploads/") {
		return false
	}
	if r.Method == http.MethodPost {
		path := r.URL.Path + rand.Text()
		s.mu.Lock()
		s.uploads[path] = nil
		s.mu.Unlock()
		s.located(w, path, 0, base(r))
		w.WriteHeader(http.StatusAccepted)
		return true
	}
	s.mu.Lock()
	received, known := s.uploads[r.URL.Path]
	s.mu.Unlock()
	offset, err := strconv.Atoi(strings.TrimSuffix(r.URL.Query().Get("_state"), "=="))
	switch {
	case !known:
		refuse(w, refusal{status: http.StatusNotFound, code: "BLOB_UPLOAD_UNKNOWN", message: "blob upload unknown to registry"})
	case !s.config.Resumable && (err != nil || offset != len(received)):
		s.forget(r)
		refuse(w, refusal{status: http.StatusNotFound, code: "BLOB_UPLOAD_INVALID", message: "blob upload invalid"})
	case r.Method == http.MethodPatch && len(received) > 0 && r.ContentLength >= 0 && !strings.HasPrefix(r.Header.Get("Content-Range"), fmt.Sprintf("%d-", len(received))):
		refuse(w, refusal{status: http.StatusRequestedRangeNotSatisfiable, code: "RANGE_INVALID", message: "invalid content range"})
	case r.Method == http.MethodDelete:
		s.forget(r)
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodGet:
		s.located(w, r.URL.Path, len(received), base(r))
		w.WriteHeader(http.StatusNoContent)
	default:
		s.receive(w, r, t)
	}
	return true
}

// located sends the client on to where the upload goes on.
func (s *Server) located(w http.ResponseWriter, path string, received int, base string) {
	w.Header().Set("Location", fmt.Sprintf("%s%s?_state=%d%%3D%%3D", base, path, received))
	w.Header().Set("Range", fmt.Sprintf("0-%d", max(0, received-1)))
	w.Header().Set("Docker-Upload-Uuid", path[strings.LastIndexByte(path, '/')+1:])
}

func (s *Server) forget(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.uploads, r.URL.Path)
}

// receive takes what a PATCH or PUT brings; a PUT closes the upload.
func (s *Server) receive(w http.ResponseWriter, r *http.Request, t target) {
	news, err := io.ReadAll(r.Body)
	s.mu.Lock()
	all := append(s.uploads[r.URL.Path], news...)
	s.uploads[r.URL.Path] = all
	s.mu.Unlock()
	if err != nil {
		panic(http.ErrAbortHandler) // the connection broke
	}
	if r.Method == http.MethodPatch {
		s.located(w, r.URL.Path, len(all), base(r))
		w.WriteHeader(http.StatusAccepted)
		return
	}
	if refusal := s.quotaRule(int64(len(all)), t); refusal != nil {
		refuse(w, *refusal)
		return
	}
	s.forget(r)
	got, _, _ := v1.SHA256(bytes.NewReader(all))
	if want := r.URL.Query().Get("digest"); got.String() != want {
		refuse(w, refusal{status: http.StatusBadRequest, code: "DIGEST_INVALID", message: "provided digest did not match uploaded content"})
		return
	}
	s.blobs.store(t.repository, got, all)
	w.Header().Set("Location", base(r)+"/v2/"+t.repository+"/blobs/"+got.String())
	w.Header().Set("Docker-Content-Digest", got.String())
	w.WriteHeader(http.StatusCreated)
}
