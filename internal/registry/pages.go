package registry

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/ksera524/imgbump/internal/fault"
)

// pages reads a list page by page, as many as there may be at most. Read asks for the page of a query, and returns that of the
// next, "" after the last.
func (f *fetch) pages(query string, most int, read func(query string) (next string, err error)) error {
	for asked := map[string]bool{}; ; {
		asked[query] = true
		next, err := read(query)
		switch {
		case err != nil || next == "":
			return err
		case asked[next]:
			err = fmt.Errorf("%s lists the same page twice", f.host)
		case len(asked) == most:
			err = fmt.Errorf("%s lists more than %d pages", f.host, most)
		}
		if err != nil {
			return &fault.Error{What: f.what, Where: f.where, Err: err}
		}
		query = next
	}
}

// nextQuery is the query of the next page that a Link header names (RFC 8288), "" when there is none. Only the query is
// taken from it: a registry behind a proxy may not know its own name, and no other host is asked.
func nextQuery(resp *http.Response) (string, error) {
	rest := strings.Join(resp.Header["Link"], ",")
	for {
		_, link, found := strings.Cut(rest, "<")
		if !found {
			return "", nil
		}
		target, parameters, _ := strings.Cut(link, ">")
		if parameters, rest, _ = strings.Cut(parameters, ","); !strings.Contains(strings.ReplaceAll(parameters, `"`, ""), "rel=next") {
			continue
		}
		u, err := url.Parse(target)
		if err != nil || u.RawQuery == "" {
			return "", errors.New("the next page of the list has no readable address")
		}
		return u.Query().Encode(), nil
	}
}
