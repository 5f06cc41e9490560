package statuspage

import (
	"net"
	"net/http"
	"sync"
	"time"
)

const (
	wrongs  = 10     // wrong tokens from an address in a minute, then none is looked at until the minute is over
	guesses = 10_000 // addresses with wrong tokens in a minute, then those of all others are refused too
)

// attempts bounds how often tokens can be guessed. A gateway in front is one address: its clients share the bound, and a right
// token is refused as well once it is used up, for otherwise guessing could go on.
type attempts struct {
	now func() time.Time

	mu    sync.Mutex
	since time.Time
	wrong map[string]int
}

// try is the status that a request with a right or wrong token comes to.
func (a *attempts) try(r *http.Request, right bool) int {
	from := r.RemoteAddr
	if host, _, err := net.SplitHostPort(from); err == nil {
		from = host
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.now().Sub(a.since) >= time.Minute {
		a.since, a.wrong = a.now(), map[string]int{}
	}
	switch {
	case a.wrong[from] >= wrongs || len(a.wrong) >= guesses:
		return http.StatusTooManyRequests
	case !right:
		a.wrong[from]++
		return http.StatusUnauthorized
	}
	return http.StatusOK
}
