package repo

import (
	"context"
	"fmt"

	"github.com/go-git/go-git/v5/plumbing"
)

// promisor is the remote that has the objects which a partial clone lacks, "" where none are lacking.
func (r *Repo) promisor() string {
	for _, line := range r.config {
		if line.section == "remote" && line.key == "promisor" && line.value == "true" {
			return line.subsection
		}
	}
	return r.config.value("extensions", "", "partialclone")
}

// fillFrom makes a history of the checkout's own commits fetch the files that a partial clone lacks. When the remote
// that promised them does not give them they are passed over, as the files themselves say.
func (h *history) fillFrom(promisor string) {
	r := h.repo
	from := &Remote{history: *h, remote: promisor, fetching: fetching{sparse: true}}
	r.closers = append(r.closers, from.hangUp)
	h.gather = func(ctx context.Context, root plumbing.Hash, under []string) error {
		h.objects.mu.Lock()
		defer h.objects.mu.Unlock()
		lacking, err := from.lacking(ctx, root, under)
		if len(lacking) == 0 || err != nil {
			return err
		}
		if from.server, err = r.dial(promisor); err == nil {
			err = from.fetchParts(ctx, order{wants: lacking, filter: small})
		}
		if err != nil && ctx.Err() == nil {
			r.options.Warn(fmt.Sprintf("this partial clone stays without %d files that may name images: %v", len(lacking), err))
			err = nil
		}
		return err
	}
}
