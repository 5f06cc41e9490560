// Package argoapi asks Argo CD about its applications and watches them: over Argo CD's own API, or that of its cluster where
// the applications are resources.
//
// Both are a handful of requests, written down from what Argo CD v3.5 was observed to answer; its client library would bring
// most of Kubernetes with it.
package argoapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/rollout"
)

// patience is how long an answer may take, in all.
const patience = 15 * time.Second

// maxAnswer is the largest answer, or event of a stream, that is read, in bytes: etcd keeps no larger objects than 1.5 MiB.
const maxAnswer = 8 << 20

// validName is what Kubernetes takes for names (RFC 1123, subdomain).
var validName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$`)

// ParseName reads NAME or NAMESPACE/NAME, as Argo CD's command line has it; the namespace is "" when none is named.
func ParseName(s string) (namespace, name string, err error) {
	namespace, name, both := strings.Cut(s, "/")
	if !both {
		namespace, name = "", s
	}
	if !validName.MatchString(name) || both && !validName.MatchString(namespace) {
		return "", "", fmt.Errorf("%q is not the name of an application, NAME or NAMESPACE/NAME", s)
	}
	return namespace, name, nil
}

// read is an answer's text.
func read(resp *http.Response) ([]byte, error) {
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1))
	if err == nil && len(body) > maxAnswer {
		err = fmt.Errorf("it sends more than %d MiB", maxAnswer>>20)
	}
	return body, err
}

// decoded is the application in an answer.
func decoded(body []byte) (*rollout.Application, error) {
	var a rollout.Application
	if err := json.Unmarshal(body, &a); err != nil || a.Metadata.Name == "" {
		return nil, errors.New("it answers with something that is no application")
	}
	return &a, nil
}

// event is one of a stream, of either API.
type event struct {
	Type        string          `json:"type"`
	Application json.RawMessage `json:"application"` // Argo CD
	Object      json.RawMessage `json:"object"`      // Kubernetes
}

// follow reads the events of a stream, one a line, and tells of the application named, in any namespace where none is. It ends with rollout.ErrMissing
// when that is deleted, with an error when the stream says one, and without when the stream ends.
func follow(stream io.Reader, namespace, name string, seen func(*rollout.Application)) error {
	lines := bufio.NewScanner(stream)
	lines.Buffer(nil, maxAnswer)
	for lines.Scan() {
		if len(bytes.TrimSpace(lines.Bytes())) == 0 {
			continue
		}
		var e struct {
			event
			Result event           `json:"result"`
			Error  json.RawMessage `json:"error"`
		}
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			return errors.New("it streams something that is no event")
		}
		if e.Error != nil || e.Type == "ERROR" {
			return errors.New("the stream ended with an error")
		}
		body, kind := e.Object, e.Type
		if e.Result.Application != nil {
			body, kind = e.Result.Application, e.Result.Type
		}
		a, err := decoded(body)
		switch {
		case err != nil:
			return err
		case a.Metadata.Name != name || namespace != "" && a.Metadata.Namespace != namespace:
		case kind == "DELETED":
			return rollout.ErrMissing
		case kind == "ADDED" || kind == "MODIFIED":
			seen(a)
		}
	}
	return lines.Err()
}

// busy makes the error of an answer a rollout.Later where the server may answer otherwise soon: it may ask to be left alone
// for a number of seconds (RFC 9110, 10.2.3).
func busy(resp *http.Response, err error) error {
	switch resp.StatusCode {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		seconds, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
		return &rollout.Later{After: time.Duration(min(max(1, seconds), 3600)) * time.Second, Err: err}
	}
	return err
}

// cause is why there was no answer, without the address, which the message around it names.
func cause(ctx context.Context, err error) error {
	if ctx.Err() == context.DeadlineExceeded {
		return errors.New("it does not answer in time")
	}
	var request *url.Error
	if errors.As(err, &request) {
		return request.Err
	}
	return err
}

// said is what a server says, as a part of a message.
func said(text string) string { return rollout.Clean(text) }
