package main

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
)

// sayings are what a log was told of a target since the whole round before the last one. What is the matter stays so for many
// rounds, and is told when it begins.
type sayings struct {
	mu           sync.Mutex
	newer, older map[string]bool
}

// turn begins a whole round. What was not said in the last one is told anew.
func (s *sayings) turn() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.newer, s.older = map[string]bool{}, s.newer
}

// again reports whether a record was there before.
func (s *sayings) again(record string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	again := s.newer[record] || s.older[record]
	if s.newer == nil {
		s.newer = map[string]bool{}
	}
	s.newer[record] = true
	return again
}

// once is a handler that leaves out what was said already; details come as often as they like.
type once struct {
	slog.Handler
	said  *sayings
	scope string // of the records, by WithAttrs and WithGroup
}

func (h once) Handle(ctx context.Context, r slog.Record) error {
	if r.Level >= slog.LevelInfo && h.said.again(h.scope+line(r)) {
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// line is a record without its time.
func line(r slog.Record) string {
	var b bytes.Buffer
	b.WriteString(r.Level.String() + " " + r.Message)
	r.Attrs(func(a slog.Attr) bool {
		b.WriteString("\n" + a.String())
		return true
	})
	return b.String()
}

func (h once) WithAttrs(attrs []slog.Attr) slog.Handler {
	for _, a := range attrs {
		h.scope += a.String() + "\n"
	}
	h.Handler = h.Handler.WithAttrs(attrs)
	return h
}

func (h once) WithGroup(name string) slog.Handler {
	h.scope += name + ".\n"
	h.Handler = h.Handler.WithGroup(name)
	return h
}
