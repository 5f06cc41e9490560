package registry

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Bounds of a list of tags, which a registry may make as long as it likes.
const (
	tagsAtOnce = 1000
	mostTags   = 1_000_000
	mostPages  = 10_000   // a registry may give fewer at once
	maxTags    = 64 << 20 // bytes of all pages
)

// Tags are the names that the repository of ref lists, as the registry spells them: who uses them checks that they are
// tags. The list is read page by page.
func (c *Client) Tags(ctx context.Context, ref imageref.Ref) ([]string, error) {
	f, err := c.fetch(ctx, "list the tags of", ref.Bare())
	if err != nil {
		return nil, err
	}
	var all []string
	left := int64(maxTags)
	err = f.pages(fmt.Sprintf("n=%d", tagsAtOnce), mostPages, func(query string) (string, error) {
		some, size, next, err := f.tagsPage(ctx, ref.Bare(), query, left)
		all, left = append(all, some...), left-size
		if err == nil && (len(all) > mostTags || left < 0) {
			err = &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("%s lists more than %d tags, or more than %d MiB of them", f.host, mostTags, maxTags>>20),
				Hint: "delete old tags, in Harbor with a retention rule of the project"}
		}
		return next, err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// tagsPage reads one page, of which the size in bytes may be one more than most: then there are no tags. Next is the query of
// the next one, "" after the last.
func (f *fetch) tagsPage(ctx context.Context, ref imageref.Ref, query string, most int64) (tags []string, size int64, next string, err error) {
	ctx, cancel := patiently(ctx, f.what, ref)
	defer cancel()
	r := request{method: http.MethodGet, url: f.url("%s/tags/list?%s", f.repository, query), scopes: f.scopes}
	resp, err := f.expect(ctx, f.what, f.where, r, http.StatusOK)
	if err != nil {
		return nil, 0, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	size = int64(len(raw))
	switch {
	case err != nil:
		return nil, 0, "", f.failed(ctx, f.what, f.where, err)
	case size > most:
		return nil, size, "", nil
	}
	var answer struct{ Tags []string }
	if json.Unmarshal(raw, &answer) != nil {
		err = fmt.Errorf("%s does not answer with a list", f.host)
	} else {
		next, err = nextQuery(resp)
	}
	if err != nil {
		return nil, 0, "", &fault.Error{What: f.what, Where: f.where, Err: err, Hint: f.hintPage()}
	}
	return answer.Tags, size, next, nil
}
