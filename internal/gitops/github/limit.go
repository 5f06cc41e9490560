package github

import (
	"encoding/json"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// limitError is a rate limit that lasts longer than there is time.
type limitError struct {
	wait time.Duration
	over time.Time // by the server's clock
}

func (e *limitError) Error() string { return "its rate limit is reached" }

// when says when requests will be taken again.
func (e *limitError) when() string {
	return "in " + e.wait.Round(time.Second).String() + ", after " + e.over.UTC().Format(time.DateTime+" MST")
}

// limit tells a rate limit from other answers, and how long to wait, longer each time when GitHub does not say. It answers
// 403 or 429 to both kinds of limits (docs.github.com/rest/using-the-rest-api/rate-limits-for-the-rest-api), GraphQL 200
// too (docs.github.com/graphql/overview/rate-limits-and-query-limits-for-the-graphql-api). What is known of the limit is
// taken out of the answer: go-github would refuse the next request by it, where we wait.
func (p *patient) limit(answer *http.Response, body []byte, before int) (wait time.Duration, limited bool) {
	if answer == nil {
		return 0, false
	}
	h := answer.Header
	stated, spent := h.Get("Retry-After"), h.Get("X-RateLimit-Remaining") == "0"
	reset, _ := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64)
	h.Del("X-RateLimit-Reset")
	switch answer.StatusCode {
	case http.StatusTooManyRequests:
	case http.StatusForbidden:
		limited = stated != "" || spent || secondary(body)
	case http.StatusOK:
		limited = queryLimited(body, stated != "")
	}
	if !limited && answer.StatusCode != http.StatusTooManyRequests {
		return 0, false
	}
	wait = time.Minute << before
	now := serverTime(answer, p.now())
	if seconds, err := strconv.ParseUint(stated, 10, 64); err == nil {
		wait = time.Duration(min(seconds, 1<<31)) * time.Second
	} else if date, err := http.ParseTime(stated); err == nil {
		wait = date.Sub(now)
	} else if spent && reset > 0 {
		wait = time.Unix(reset, 0).Sub(now)
	}
	return max(wait, time.Second), true
}

// secondary reports whether an answer is about a secondary limit; its link says so where no header does.
func secondary(body []byte) bool {
	var said struct {
		Documentation string `json:"documentation_url"`
	}
	_ = json.Unmarshal(body, &said) // errors of another shape do not matter
	return strings.HasSuffix(said.Documentation, "secondary-rate-limits") || strings.HasSuffix(said.Documentation, "#abuse-rate-limits")
}

// queryLimited reports whether GraphQL refused a query for its limits.
func queryLimited(body []byte, stated bool) bool {
	var said struct{ Errors queryErrors }
	_ = json.Unmarshal(body, &said) // most answers are no GraphQL
	return len(said.Errors) > 0 && stated ||
		slices.ContainsFunc(said.Errors, func(e queryError) bool { return e.Type == "RATE_LIMITED" })
}

// serverTime is the server's clock, which its limits are told by, and ours where it does not tell.
func serverTime(answer *http.Response, ours time.Time) time.Time {
	if date, err := http.ParseTime(answer.Header.Get("Date")); err == nil {
		return date
	}
	return ours
}
