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
		page, err := f.tagsPage(ctx, ref.Bare(), query, left)
		all, left = append(all, page.tags...), left-page.size
		if err == nil && (len(all) > mostTags || left < 0) {
			err = &fault.Error{What: f.what, Where: f.where, Err: fmt.Errorf("%s lists more than %d tags, or more than %d MiB of them", f.host, mostTags, maxTags>>20),
				Hint: "delete old tags, in Harbor with a retention rule of the project"}
		}
		return page.next, err
	})
	if err != nil {
		return nil, err
	}
	return all, nil
}

// tagsPage reads one page. When it has more bytes than most, it has no tags.
func (f *fetch) tagsPage(ctx context.Context, ref imageref.Ref, query string, most int64) (tagsPage, error) {
	ctx, cancel := patiently(ctx, f.what, ref)
	defer cancel()
	url := f.url("%s/tags/list?%s", f.repository, query)
	known, statuses := f.client.options.Lists.at(url), []int{http.StatusOK}
	if known.etag != "" {
		statuses = append(statuses, http.StatusNotModified)
	}
	resp, err := f.expect(ctx, f.what, f.where, request{method: http.MethodGet, url: url, scopes: f.scopes, header: known.unless()}, statuses...)
	if err != nil {
		return tagsPage{}, err
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusNotModified {
		return known, nil
	}
	raw, err := io.ReadAll(io.LimitReader(resp.Body, most+1))
	page := tagsPage{etag: resp.Header.Get("ETag"), size: int64(len(raw))}
	switch {
	case err != nil:
		return tagsPage{}, f.failed(ctx, f.what, f.where, err)
	case page.size > most:
		return page, nil
	}
	var answer struct{ Tags []string }
	if json.Unmarshal(raw, &answer) != nil {
		err = fmt.Errorf("%s does not answer with a list", f.host)
	} else {
		page.tags = answer.Tags
		page.next, err = nextQuery(resp)
	}
	if err != nil {
		return tagsPage{}, &fault.Error{What: f.what, Where: f.where, Err: err, Hint: f.hintPage()}
	}
	f.client.options.Lists.keep(url, page)
	return page, nil
}
