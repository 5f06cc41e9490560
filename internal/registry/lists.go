package registry

import (
	"net/http"
	"slices"
	"sync"
)

// Lists remembers pages of lists of tags by the ETags that registries give them, so that a page that is what it was is not sent
// again (RFC 9110, section 13.1.2). It is for clients with the same logins, and safe for use by several goroutines.
type Lists struct {
	mu    sync.Mutex
	pages map[string]tagsPage // by URL
	size  int64
}

const maxLists = 16 << 20 // bytes, as they were sent

// tagsPage is one page of a list of tags.
type tagsPage struct {
	etag string
	tags []string
	size int64  // in bytes
	next string // the query of the next one, "" after the last
}

// at is the page of an URL, zero when it is not known.
func (l *Lists) at(url string) tagsPage {
	if l == nil {
		return tagsPage{}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pages[url]
}

// keep remembers a page that has an ETag. When there are too many, it begins anew.
func (l *Lists) keep(url string, p tagsPage) {
	if l == nil || p.etag == "" {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.size += p.size - l.pages[url].size; l.pages == nil || l.size > maxLists {
		l.pages, l.size = map[string]tagsPage{}, p.size
	}
	p.tags = slices.Clone(p.tags)
	l.pages[url] = p
}

// unless is the header of a request for a page unless it is that still.
func (p tagsPage) unless() http.Header {
	if p.etag == "" {
		return nil
	}
	return http.Header{"If-None-Match": {p.etag}}
}
