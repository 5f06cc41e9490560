package registry

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/types"

	"github.com/ksera524/imgbump/internal/fault"
)

// referring are what refers to a subject: as the registry lists it (distribution specification, "Listing Referrers"), else as
// the tag does that clients keep where it does not.
func (f *fetch) referring(subject v1.Hash) ([]v1.Descriptor, error) {
	listed, supported, err := f.list(subject)
	if err != nil || supported {
		return listed, err
	}
	raw, mediaType, err := f.manifest(tagOf(subject))
	if errors.Is(err, ErrNotFound) || err == nil && !mediaType.IsIndex() {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
	if err != nil {
		return nil, &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("tag %s: %w", tagOf(subject), err)}
	}
	return index.Manifests, nil
}

// list asks the registry for the referrers of a subject, as far as they are not too many. Whether it has such lists at all is
// told by the first page; of a list that breaks off nothing counts.
func (f *fetch) list(subject v1.Hash) (all []v1.Descriptor, supported bool, err error) {
	err = f.pages("", mostAttachments, func(query string) (next string, err error) {
		page := f.url("%s/referrers/%s", f.repository, subject)
		statuses := []int{http.StatusOK}
		if query == "" {
			statuses = append(statuses, http.StatusNotFound, http.StatusBadRequest, http.StatusMethodNotAllowed, http.StatusNotImplemented)
		} else {
			page += "?" + query
		}
		r := request{method: http.MethodGet, url: page, scopes: f.scopes, header: http.Header{"Accept": {string(types.OCIImageIndex)}}}
		resp, err := f.expect(f.ctx, f.what, f.where, r, statuses...)
		if err != nil {
			return "", err
		}
		raw, err := f.all(resp.Body)
		if err != nil {
			return "", err
		}
		index, err := v1.ParseIndexManifest(bytes.NewReader(raw))
		switch {
		case query == "" && (resp.StatusCode != http.StatusOK || err != nil):
			return "", nil // a web page answers 200 too
		case err == nil:
			supported, all = true, append(all, index.Manifests...)
			next, err = nextQuery(resp)
		}
		if err != nil {
			return "", &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("the list of what refers to %s: %w", subject, err), Hint: f.hintPage()}
		}
		if len(all) > mostAttachments {
			next = ""
		}
		return next, nil
	})
	return all, supported, err
}

// tagOf is the tag that stands for a digest where a registry cannot list referrers, and the beginning of cosign's tags.
func tagOf(h v1.Hash) string { return h.Algorithm + "-" + h.Hex }
