package main

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ksera524/imgbump/internal/bump"
	"github.com/ksera524/imgbump/internal/cli"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/metrics"
	"github.com/ksera524/imgbump/internal/reconcile"
	"github.com/ksera524/imgbump/internal/status"
	"github.com/ksera524/imgbump/internal/statuspage"
)

const (
	farewell = 5 * time.Second // that requests under way may take when the server stops
	arrival  = 3 * time.Minute // that the body of a request may take, and more than what it asks for does
	sending  = time.Minute     // that each part of an answer may take
)

// service is serve while it runs.
type service struct {
	flags   *httpFlags
	lease   *leaseFlags
	loop    *reconcile.Loop
	board   *status.Board
	metrics *metrics.Metrics
	keepers []*upkeep
	log     *slog.Logger

	stopping atomic.Bool
	replicas
}

// run serves until the context ends. Then rounds that are under way end, and the lead is given up last.
func (s *service) run(ctx context.Context, c *cli.Console) error {
	stop := make(chan struct{})
	handler, err := s.handler(c, stop)
	if err != nil {
		return err
	}
	elect, err := s.lease.open(c, s.log)
	if err != nil {
		return err
	}
	if s.leads.Store(elect == nil); elect != nil {
		s.follow(false, "", "")
	}
	listener, err := net.Listen("tcp", s.flags.listen)
	if err != nil {
		if op := (*net.OpError)(nil); errors.As(err, &op) {
			err = op.Err // without the address once more
		}
		return &fault.Error{What: "listen on", Where: s.flags.listen, Hint: "another program may have the port: choose one with --listen", Err: fault.Cause(err)}
	}
	s.log.Info("serving", "address", listener.Addr().String(), "targets", len(s.keepers), "interval", s.loop.Interval, "window", s.loop.Window, "webhooks", s.flags.received())
	web := &http.Server{
		Handler: hurried(handler), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, MaxHeaderBytes: 64 << 10,
		ErrorLog: slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
	}
	leading, resign := context.WithCancel(context.WithoutCancel(ctx))
	defer resign()
	running, abort := context.WithCancel(ctx)
	defer abort()
	context.AfterFunc(running, func() { s.stopping.Store(true) })
	var all errgroup.Group
	all.Go(func() error {
		defer abort()
		if err := web.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			return &fault.Error{What: "serve on", Where: s.flags.listen, Err: err}
		}
		return nil
	})
	if elect != nil {
		all.Go(func() error { defer abort(); return elect(leading, s.follow) })
	}
	all.Go(func() error {
		err := s.loop.Run(running)
		close(stop)
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), farewell)
		defer cancel()
		_ = web.Shutdown(ctx) // what is still under way then is cut off
		resign()
		return err
	})
	if err = all.Wait(); err != nil {
		s.log.Error("stopped", "error", err)
		return err
	}
	s.log.Info("stopped")
	return nil
}

// handler answers what this replica answers itself, and hands the rest on to the one that leads.
func (s *service) handler(c *cli.Console, stop <-chan struct{}) (http.Handler, error) {
	hooks, err := s.flags.webhooks(c, s)
	if err != nil {
		return nil, err
	}
	page := statuspage.Options{Board: s.board, Stop: stop}
	if page.Token = s.flags.token; page.Token != "" {
		page.Actions = s
	}
	leaders := http.NewServeMux()
	leaders.Handle("/webhook", hooks)
	leaders.Handle("/webhook/", hooks)
	leaders.Handle("/", statuspage.New(page))
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, "ok") })
	mux.HandleFunc("GET /readyz", s.ready)
	mux.Handle("GET /metrics", s.metrics.Handler())
	mux.Handle("/", s.handedOn(leaders))
	return mux, nil
}

func (s *service) ready(w http.ResponseWriter, _ *http.Request) {
	switch {
	case s.stopping.Load():
		answer(w, http.StatusServiceUnavailable, "stopping")
	case !s.leads.Load() && s.leader.Load() == nil:
		answer(w, http.StatusServiceUnavailable, "no replica is known to lead")
	default:
		answer(w, http.StatusOK, "ok")
	}
}

func answer(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(code)
	_, _ = w.Write([]byte(text + "\n"))
}

// hurried cuts off who takes too long to send a request, or to take a part of the answer. Live updates are parts of one answer,
// and go on.
func hurried(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ContentLength != 0 { // without a body, what is read is only whether the client is still there
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(arrival))
		}
		next.ServeHTTP(inParts{w}, r)
	})
}

// inParts has each part of an answer leave in time.
type inParts struct{ http.ResponseWriter }

func (w inParts) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w inParts) Write(p []byte) (int, error) {
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(sending))
	return w.ResponseWriter.Write(p)
}

// Update has the loop look at the image, or at all of the target, at once.
func (s *service) Update(_ context.Context, target, image string) error {
	if image == "" {
		return s.loop.Ask(target)
	}
	ref, err := imageref.Parse(image)
	if err != nil {
		return err
	}
	return s.loop.Ask(target, ref)
}

// Hold holds an image of the target back, and has the loop look at what that comes to.
func (s *service) Hold(ctx context.Context, target, image, reason string) error {
	return s.hold(ctx, target, image, bump.Hold{Reason: reason})
}

// Release lets an image of the target be updated again, at once.
func (s *service) Release(ctx context.Context, target, image string) error {
	return s.hold(ctx, target, image, bump.Hold{Release: true})
}

func (s *service) hold(ctx context.Context, target, image string, hold bump.Hold) error {
	ref, err := imageref.Parse(image)
	if err != nil {
		return err
	}
	hold.Image = ref.Bare()
	for _, k := range s.keepers {
		if k.name != target {
			continue
		}
		err := k.hold(ctx, hold)
		if err == nil || fault.KindOf(err) == fault.Partial {
			err = cmp.Or(err, s.loop.Ask(target, hold.Image))
		}
		return err
	}
	return &fault.Error{Kind: fault.Missing, What: "no target is called", Where: target}
}
