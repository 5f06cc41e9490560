package harbor

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/fault"
)

// pageSize is the most that Harbor gives at once, and pagesAtOnce how many pages of a list are asked for at a time.
const (
	pageSize    = 100
	pagesAtOnce = 4
)

// maxPages ends lists that have no end: 100,000 elements, of some KiB each; maxList those whose elements have none, in bytes.
const (
	maxPages = 1000
	maxList  = 512 << 20
)

// pages reads a list to its end. The first page tells how many elements there are; the others are then read several at
// once. What a list of which elements come or go meanwhile holds twice or not at all is up to the caller.
func pages[T any](ctx context.Context, c *Client, r call) ([]T, error) {
	r.size = new(atomic.Int64)
	all, header, err := page[T](ctx, c, r, 1)
	if err != nil {
		return nil, err
	}
	total, err := strconv.Atoi(header.Get("X-Total-Count"))
	switch {
	case total > maxPages*pageSize:
		return nil, c.endless(r)
	case err != nil || len(all) != pageSize:
		return oneByOne(ctx, c, r, all, header)
	}
	further := make([][]T, (max(total, 1)-1)/pageSize)
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(pagesAtOnce)
	for i := range further {
		group.Go(func() (err error) {
			further[i], _, err = page[T](ctx, c, r, i+2)
			return err
		})
	}
	if err := group.Wait(); err != nil {
		return nil, err
	}
	return slices.Concat(append([][]T{all}, further...)...), nil
}

// oneByOne reads the pages after the first, whose elements are all, of a list that does not tell how long it is, or whose
// pages are shorter than they should be.
func oneByOne[T any](ctx context.Context, c *Client, r call, all []T, header http.Header) ([]T, error) {
	for n, last := 2, len(all); more(header, len(all), last); n++ {
		if n > maxPages {
			return nil, c.endless(r)
		}
		some, next, err := page[T](ctx, c, r, n)
		if err != nil || len(some) == 0 {
			return all, err
		}
		all, header, last = append(all, some...), next, len(some)
	}
	return all, nil
}

// more reports whether a list goes on behind a page, the last of the elements that were got. Harbor's Link header is only
// asked whether there is more, never where.
func more(header http.Header, got, last int) bool {
	total, err := strconv.Atoi(header.Get("X-Total-Count"))
	return last > 0 && (strings.Contains(header.Get("Link"), `rel="next"`) || err != nil && last == pageSize || err == nil && total > got)
}

// page reads one page, counted from 1.
func page[T any](ctx context.Context, c *Client, r call, n int) (some []T, header http.Header, err error) {
	query := url.Values{"page": {strconv.Itoa(n)}, "page_size": {strconv.Itoa(pageSize)}}
	for key, values := range r.query {
		query[key] = values
	}
	r.query, r.into = query, &some
	header, err = c.send(ctx, r)
	switch {
	case err != nil:
	case len(some) > pageSize:
		err = c.strange(r, fmt.Errorf("%d elements where %d were asked for", len(some), pageSize))
	case r.size.Load() > c.most:
		err = &fault.Error{What: r.what, Where: r.where, Err: fmt.Errorf("%s lists more than %d MiB", c.host, c.most>>20)}
	}
	return some, header, err
}

func (c *Client) endless(r call) error {
	return &fault.Error{What: r.what, Where: r.where, Err: fmt.Errorf("%s lists more than %d elements", c.host, maxPages*pageSize)}
}
