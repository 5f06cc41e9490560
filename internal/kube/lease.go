package kube

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// Election makes one of several replicas the leader, by a Lease as Kubernetes' own components do: who leads renews it, and who
// sees it unchanged for its duration may take it. No clock is compared with another's.
//
// A replica that was stopped in the middle of its work, and goes on after another has taken the lead, writes once more: what it
// writes must bear that.
type Election struct {
	Cluster *Cluster
	Lease   Name
	// Identity is this replica's alone: its pod's name. One that starts anew takes up the lead that it had. Address is where
	// others find it, in the Lease's annotation.
	Identity, Address string
	// Duration is how long the others wait for a leader that is gone, in whole seconds; Renew, which is shorter, how long one
	// leads that cannot renew the Lease; Retry the time between two looks at it. The defaults are 15, 10 and 2 seconds.
	Duration, Renew, Retry time.Duration
	Log                    *slog.Logger

	now func() time.Time // what is written into the Lease
}

// Run takes part until the context ends, and then gives the lead away: end it only when nothing is written any more. It
// reports, on one goroutine that must not wait, who leads at first and whenever that changes: this replica, or the holder at an
// address; both are "" while nobody is known to. Failures are logged, once each, and tried again. An error is of kind fault.Usage.
func (e Election) Run(ctx context.Context, changed func(leads bool, holder, address string)) error {
	e.Duration, e.Renew, e.Retry = cmp.Or(e.Duration, 15*time.Second), cmp.Or(e.Renew, 10*time.Second), cmp.Or(e.Retry, 2*time.Second)
	switch {
	case !validName.MatchString(e.Lease.Namespace) || !validName.MatchString(e.Lease.Name):
		return fault.Usagef("for example: imgbump/imgbump", "%q is no NAMESPACE/NAME of a Lease", e.Lease.String())
	case e.Identity == "":
		return fault.Usagef("a pod's name is one: POD_NAME from metadata.name", "a replica needs an identity to be elected")
	case e.Duration%time.Second != 0 || e.Renew >= e.Duration || e.Retry >= e.Renew || e.Retry <= 0:
		return fault.Usagef("for example: 15s, 10s and 2s", "a Lease of %v cannot be renewed for %v, every %v", e.Duration, e.Renew, e.Retry)
	}
	if e.now == nil {
		e.now = time.Now
	}
	c := &candidate{Election: e, changed: changed}
	for ctx.Err() == nil {
		c.tell()
		err := c.attempt(ctx)
		c.tell()
		if ctx.Err() != nil {
			break
		}
		c.report(err)
		timer := time.NewTimer(c.pause())
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
	c.resign(context.WithoutCancel(ctx))
	return nil
}

// candidate is one that takes part.
type candidate struct {
	Election
	changed func(leads bool, holder, address string)
	told    *standing // what it was called with last
	trouble string    // what was logged last

	lease *lease    // the newest that is known, nil when it may have changed since
	seen  leaseSpec // who led when the Lease was last read or written
	at    string    // the address that was in it
	since time.Time // when seen became what it is, by our own clock
	until time.Time // we lead until then
	named bool      // the Lease may name us
}

// standing is who leads, as far as it is known.
type standing struct {
	leads           bool
	holder, address string
}

func (c *candidate) leads() bool { return time.Now().Before(c.until) }

// another is how long the lead is somebody else's yet.
func (c *candidate) another() time.Duration {
	if c.seen.Holder == "" || c.seen.Holder == c.Identity {
		return 0
	}
	return time.Until(c.since.Add(cmp.Or(c.seen.duration(), c.Duration)))
}

// attempt takes the lead, or keeps it, if it is to be had. What was begun before the lead ends is given up when it does.
func (c *candidate) attempt(ctx context.Context) error {
	began, limit := time.Now(), c.Renew/2
	if c.leads() {
		limit = min(limit, time.Until(c.until))
	} else {
		c.lease = nil
	}
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for last := false; ; last = true {
		if err := c.look(ctx); err != nil {
			return err
		}
		if c.another() > 0 {
			c.until, c.named = time.Time{}, false
			return nil
		}
		err := c.write(ctx, c.claim())
		switch {
		case err == nil:
			c.until = began.Add(c.Renew)
			return nil
		case !errors.Is(err, errChanged):
			return err
		}
		if c.lease = nil; last {
			return nil // somebody else is quicker, and will be seen
		}
	}
}

// look reads the Lease unless it is known.
func (c *candidate) look(ctx context.Context) error {
	if c.lease != nil {
		return nil
	}
	l, err := c.Cluster.lease(ctx, c.Lease)
	if err == nil {
		c.observe(l)
	}
	return err
}

// write puts a Lease in place of the one that is known.
func (c *candidate) write(ctx context.Context, l *lease) error {
	c.named = true
	l, err := c.Cluster.putLease(ctx, c.Lease, l)
	if err == nil {
		c.observe(l)
	}
	return err
}

func (c *candidate) observe(l *lease) {
	if c.lease = l; l.Spec != c.seen {
		c.seen, c.since = l.Spec, time.Now()
	}
	c.at = l.address()
}

// claim is the Lease as ours.
func (c *candidate) claim() *lease {
	now := microTime(c.now())
	spec := c.lease.Spec
	if spec.Holder != c.Identity {
		spec.Acquired = now
		if c.lease.version() != "" {
			spec.Transitions++
		}
	}
	spec.Holder, spec.Seconds, spec.Renewed = c.Identity, int(c.Duration/time.Second), now
	return c.lease.with(spec, c.Address)
}

// resign gives the lead away, so that nobody has to wait for it.
func (c *candidate) resign(ctx context.Context) {
	c.until = time.Time{}
	c.tell()
	if !c.named {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, c.Renew/2)
	defer cancel()
	for range 2 {
		err := c.look(ctx)
		if err == nil && c.seen.Holder == c.Identity {
			now := microTime(c.now())
			err = c.write(ctx, c.lease.with(leaseSpec{Seconds: 1, Acquired: now, Renewed: now, Transitions: c.seen.Transitions}, ""))
		}
		if !errors.Is(err, errChanged) {
			c.report(err)
			return
		}
		c.lease = nil
	}
}

// pause is how long to wait for the next attempt: no longer than to the end of anybody's lead.
func (c *candidate) pause() time.Duration {
	left := c.another()
	if c.leads() {
		left = time.Until(c.until)
	}
	if left > 0 {
		return min(left, c.Retry)
	}
	return c.Retry
}

// tell reports who leads if that has changed. The Lease may name us when we cannot be sure any more to lead.
func (c *candidate) tell() {
	now := standing{c.leads(), c.seen.Holder, c.at}
	switch {
	case now.leads:
		now.holder, now.address = c.Identity, c.Address
	case now.holder == c.Identity || now.holder == "":
		now.holder, now.address = "", ""
	}
	if c.told == nil || *c.told != now {
		c.told = &now
		c.changed(now.leads, now.holder, now.address)
	}
}

// report logs an error that was not logged last, and its end.
func (c *candidate) report(err error) {
	lease := slog.String("lease", c.Lease.String())
	switch {
	case err == nil && c.trouble != "":
		c.trouble = ""
		c.Log.Info("the Lease is within reach again", lease)
	case err != nil && c.trouble != err.Error():
		c.trouble = err.Error()
		c.Log.Warn("the Lease is out of reach", lease, slog.Any("error", err), slog.String("hint", fault.HintOf(err)))
	}
}
