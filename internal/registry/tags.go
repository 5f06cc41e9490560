package registry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
)

// Bounds of a list of tags, which a registry may make as long as it likes.
const (
	tagsAtOnce  = 1000
	mostTags    = 1_000_000
	mostPages   = 10_000
	maxTagsPage = 64 << 20 // bytes
)

// Tags are the names that the repository of ref lists, as the registry spells them: who uses them checks that they are
// tags. The list is read page by page.
func (c *Client) Tags(ctx context.Context, ref imageref.Ref) ([]string, error) {
	f, err := c.fetch(ctx, "list the tags of", ref.Bare())
	if err != nil {
		return nil, err
	}
	var all []string
	query, asked := fmt.Sprintf("n=%d", tagsAtOnce), map[string]bool{}
	for query != "" {
		asked[query] = true
		some, next, err := f.tagsPage(ctx, ref.Bare(), query)
		if err != nil {
			return nil, err
		}
		all = append(all, some...)
		switch {
		case len(all) > mostTags, len(asked) == mostPages:
			err = fmt.Errorf("%s lists more than %d tags, or more than %d pages", f.host, mostTags, mostPages)
		case asked[next]:
			err = fmt.Errorf("%s lists the same page twice", f.host)
		}
		if err != nil {
			return nil, &fault.Error{What: f.what, Where: f.where, Err: err, Hint: "delete old tags, in Harbor with a retention rule of the project"}
		}
		query = next
	}
	return all, nil
}

// tagsPage reads one page. Next is the query of the next one, "" after the last.
func (f *fetch) tagsPage(ctx context.Context, ref imageref.Ref, query string) (tags []string, next string, err error) {
	ctx, cancel := patiently(ctx, f.what, ref)
	defer cancel()
	r := request{method: http.MethodGet, url: f.url("%s/tags/list?%s", f.repository, query), scopes: f.scopes}
	resp, err := f.expect(ctx, f.what, f.where, r, http.StatusOK)
	if err != nil {
		return nil, "", err
	}
	defer resp.Body.Close()
	raw, err := io.ReadAll(io.LimitReader(resp.Body, maxTagsPage+1))
	if err != nil {
		return nil, "", f.failed(ctx, f.what, f.where, err)
	}
	var answer struct{ Tags []string }
	if len(raw) > maxTagsPage {
		err = fmt.Errorf("%s answers more than %d MiB at once", f.host, maxTagsPage>>20)
	} else if json.Unmarshal(raw, &answer) != nil {
		err = fmt.Errorf("%s does not answer with a list", f.host)
	} else {
		next, err = nextQuery(resp)
	}
	if err != nil {
		return nil, "", &fault.Error{What: f.what, Where: f.where, Err: err, Hint: f.hintPage()}
	}
	return answer.Tags, next, nil
}

// nextQuery is the query of the next page that a Link header names (RFC 8288), "" when there is none. Only the query is
// taken from it: a registry behind a proxy may not know its own name, and no other host is asked.
func nextQuery(resp *http.Response) (string, error) {
	for link := range strings.SplitSeq(strings.Join(resp.Header["Link"], ","), ",") {
		target, parameters, found := strings.Cut(strings.TrimPrefix(strings.TrimSpace(link), "<"), ">")
		if !found || !strings.Contains(strings.ReplaceAll(parameters, `"`, ""), "rel=next") {
			continue
		}
		u, err := url.Parse(target)
		if err != nil || u.RawQuery == "" {
			return "", errors.New("the next page of the list has no readable address")
		}
		return u.Query().Encode(), nil
	}
	return "", nil
}
