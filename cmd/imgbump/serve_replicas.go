package main

import (
	"cmp"
	"log/slog"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// replicas is what one of several knows of who leads.
type replicas struct {
	leads  atomic.Bool             // this one does, as it does without others
	leader atomic.Pointer[url.URL] // who leads in our stead, nil when that is nobody we know of
}

// follow notes who leads.
func (s *service) follow(leads bool, holder, address string) {
	var leader *url.URL
	if !leads {
		leader = replicaAt(address)
	}
	s.leader.Store(leader)
	led := s.leads.Swap(leads)
	s.loop.Lead(leads)
	s.board.Lead(leads, holder)
	switch {
	case leads:
		s.log.Info("this replica leads")
	case holder != "":
		s.log.Info("standing by", "leader", holder, "address", address)
	case led && !s.stopping.Load():
		s.log.Warn("this replica no longer leads, and nobody is known to")
	}
}

// replicaAt is where a replica says that it is reached, nil unless that is an address of HTTP.
func replicaAt(address string) *url.URL {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.User != nil || u.Scheme != "http" && u.Scheme != "https" {
		return nil
	}
	return u
}

// handed marks a request that another replica handed on: it goes no further, whoever that one believes to lead.
const handed = "Imgbump-Handed-On"

// handedOn has the leader answer in the stead of a standby, so that a service may choose either. A standby takes nothing upon
// itself: what it was told would be lost when another one leads all along.
func (s *service) handedOn(own http.Handler) http.Handler {
	leader := s.wayToLeader()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		known, reads := s.leader.Load() != nil, r.Method == http.MethodGet || r.Method == http.MethodHead
		switch again := r.Header.Get(handed) != ""; {
		case s.leads.Load():
			own.ServeHTTP(w, r)
		case known && !again:
			leader.ServeHTTP(w, r)
		case !known && !again && reads:
			own.ServeHTTP(w, r)
		default:
			later(w, "this replica does not lead, and knows nobody to ask: try again")
		}
	})
}

// wayToLeader passes requests on. The leader is near: no proxy is between, and where nobody answers soon nobody is.
func (s *service) wayToLeader() http.Handler {
	complain := rate.Sometimes{Interval: 10 * time.Second}
	return &httputil.ReverseProxy{
		Transport: &http.Transport{DialContext: (&net.Dialer{Timeout: 3 * time.Second}).DialContext, IdleConnTimeout: time.Minute,
			ResponseHeaderTimeout: arrival},
		FlushInterval: -1,
		ErrorLog:      slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(cmp.Or(s.leader.Load(), &url.URL{}))
			r.SetXForwarded()
			r.Out.Host = r.In.Host
			r.Out.Header.Set(handed, "1")
		},
		ErrorHandler: func(w http.ResponseWriter, r *http.Request, err error) {
			if r.Context().Err() == nil { // or who asked is gone
				complain.Do(func() { s.log.Warn("the leader does not answer", "leader", s.leader.Load(), "error", err) })
			}
			later(w, "the replica that leads does not answer: try again")
		},
	}
}

// later answers that it may work soon: a lead that ends is taken up by another replica.
func later(w http.ResponseWriter, text string) {
	w.Header().Set("Retry-After", "15")
	answer(w, http.StatusServiceUnavailable, text)
}
