// Package buildkit has a BuildKit daemon build a Dockerfile, and takes the image from it.
//
// It speaks gRPC over the standard library's HTTP/2 and reads the few messages that it needs by hand: BuildKit's own client
// would make the program half as large again.
package buildkit

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/image"
)

// Build has the daemon build an image and returns it, to be read until closer is closed or ctx ends. When ctx ends earlier
// the daemon stops building. The daemon gets to see the context, secrets and agents of the request; of logins to registries
// it sees tokens, where registries give any.
func (c *Client) Build(ctx context.Context, r Request) (image.Artifact, io.Closer, error) {
	s, err := newSession(ctx, r)
	if err != nil {
		return nil, nil, err
	}
	defer s.layouts.Close()
	answer, err := c.solve(ctx, s)
	var artifact image.Artifact
	if err == nil {
		artifact, err = s.content.image(ctx, c.address, answer)
	}
	switch {
	case err == nil:
		return artifact, s.content, nil
	case ctx.Err() != nil:
		err = ctx.Err()
	default:
		err = c.refused(s, err)
	}
	s.content.Close()
	return nil, nil, err
}

// solve runs a session and a build in it, tells how it goes, and returns what the daemon says of the result.
func (c *Client) solve(ctx context.Context, s *session) (map[string]string, error) {
	ref := strings.ToLower(rand.Text())
	m, err := s.request.message(ref, s)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	ready, over, told := make(chan struct{}), make(chan error, 1), make(chan struct{})
	go func() {
		defer close(over)
		over <- s.run(ctx, &c.peer, ready)
	}()
	defer func() {
		cancel()
		<-over
	}()
	select {
	case <-ready:
		s.begun = true
	case err := <-over:
		return nil, err
	case <-time.After(greeting):
		return nil, fmt.Errorf("no answer within %v", greeting)
	}
	go func() {
		defer close(told)
		c.follow(ctx, ref, newWatch(s.request))
	}()
	answer, err := c.peer.ask(ctx, "/moby.buildkit.v1.Control/Solve", m)
	select {
	case <-told: // the daemon ends it
	case <-time.After(patience):
		cancel()
		<-told
	}
	return answer.table(1), err
}

// greeting is how long the daemon may take to be reached and to take part in a session. A test shortens it.
var greeting = 30 * time.Second

// patience is how long the daemon may go on telling how the build went when it is over.
const patience = 2 * time.Second

// follow tells how a build goes until it is over. That it does not hear of it is no reason to fail.
func (c *Client) follow(ctx context.Context, ref string, w *watch) {
	stream := c.peer.call(ctx, "/moby.buildkit.v1.Control/Status", nil)
	defer stream.Close()
	if err := stream.Send(message{}.text(1, ref)); err != nil {
		return
	}
	stream.closeSend()
	for {
		m, err := stream.Receive()
		if err != nil || w.see(m) != nil {
			return
		}
	}
}
