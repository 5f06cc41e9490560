package statuspage

import (
	"net/http"
	"net/netip"
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
	from := network(r.RemoteAddr)
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

// network is whose an address is: with IPv6, everybody has at least 64 bits of addresses (RFC 6177).
func network(address string) string {
	at, err := netip.ParseAddrPort(address)
	if err != nil {
		return address
	}
	ip, bits := at.Addr().Unmap(), 32
	if ip.Is6() {
		bits = 64
	}
	return netip.PrefixFrom(ip.WithZone(""), bits).Masked().String()
}
