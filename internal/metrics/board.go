package metrics

import (
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ksera524/imgbump/internal/status"
)

func gauge(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("imgbump_"+name, help, labels, nil)
}

var (
	leader      = gauge("leader", "1 on the replica that writes, 0 on those that stand by.")
	state       = gauge("target_state", "1 for the state that the target is in, 0 for the others.", "target", "state")
	givenUp     = gauge("target_failing", "1 when the last round of the target was given up.", "target")
	failures    = gauge("target_failures", "What could not be done in the last round of the target.", "target")
	lastSuccess = gauge("target_last_success_timestamp_seconds", "End of the last round that looked at all images of the target and was not given up; none before the first.", "target")
	images      = gauge("images", "Images that a policy governs.", "target", "state")
)

// onBoard are the metrics of what the board says. What it says of targets is the leader's: that of a standby is out of date.
type onBoard struct{ board *status.Board }

// Describe says what there is, for the registry.
func (onBoard) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{leader, state, givenUp, failures, lastSuccess, images} {
		ch <- d
	}
}

// Collect reads the board.
func (b onBoard) Collect(ch chan<- prometheus.Metric) {
	now, _ := b.board.Snapshot()
	set := func(d *prometheus.Desc, value float64, labels ...string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, value, labels...)
	}
	set(leader, one(now.Leader))
	if !now.Leader {
		return
	}
	for _, t := range now.Targets {
		name := label(t.Name)
		for _, s := range []status.State{status.Idle, status.Queued, status.Running} {
			set(state, one(t.State == s), name, string(s))
		}
		set(givenUp, one(t.Err != ""), name)
		set(failures, float64(len(t.Failures)), name)
		if !t.Whole.IsZero() {
			set(lastSuccess, float64(t.Whole.UnixNano())/float64(time.Second), name)
		}
		counts := map[string]int{}
		for _, i := range t.Images {
			counts[standing(i)]++
		}
		for _, s := range []string{current, none, held, outdated, failing} {
			set(images, float64(counts[s]), name, s)
		}
	}
}

// How an image stands: what most wants somebody's eye of all that is true of it, the last one first.
const (
	current  = "current"
	none     = "none"     // no version fits the policy
	held     = "held"     // a hold keeps a place back
	outdated = "outdated" // a place that nothing holds back has another version than the newest
	failing  = "failing"  // none could be chosen
)

func standing(i status.Image) string {
	switch {
	case i.Err != "":
		return failing
	case slices.ContainsFunc(i.Places, i.Behind):
		return outdated
	case slices.ContainsFunc(i.Places, func(p status.Place) bool { return p.Hold != "" }):
		return held
	case i.Newest == "":
		return none
	}
	return current
}

// free reports whether something may be written for the image.
func free(i status.Image) bool {
	return len(i.Places) == 0 || slices.ContainsFunc(i.Places, func(p status.Place) bool { return p.Hold == "" })
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}
