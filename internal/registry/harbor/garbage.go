package harbor

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"path"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
)

// Collection is a garbage collection that is done.
type Collection struct {
	ID        string
	Freed     int64 // bytes
	Blobs     int   // that were deleted
	Manifests int
}

// How often a running collection is asked for. Harbor itself learns of a job's end with half a minute's delay.
const (
	firstLook = 500 * time.Millisecond
	lastLook  = 10 * time.Second
)

// Collect starts garbage collection and waits for its end. Only administrators may. Images without a tag stay: manifests
// may name their digests. So does what is younger than two hours, as layers of a push that is going on.
func (c *Client) Collect(ctx context.Context) (Collection, error) {
	what, where := "collect garbage on", c.host
	header, err := c.send(ctx, call{what: what, where: where, method: http.MethodPost, path: "/system/gc/schedule", expect: http.StatusCreated,
		body: map[string]any{"schedule": map[string]string{"type": "Manual"}, "parameters": map[string]any{"delete_untagged": false, "dry_run": false, "workers": 1}}})
	if err != nil {
		err = hinted(err, ErrForbidden, "the account may not collect garbage", "only an administrator may, or a system robot account with that right; Harbor can do it on a schedule")
		return Collection{}, hinted(err, ErrConflict, "a garbage collection is going on", "it takes what was deleted before it began; start another one later")
	}
	done := Collection{ID: path.Base(header.Get("Location"))}
	for pause := firstLook; ; pause = min(pause*3/2, lastLook) {
		var job struct {
			Status     string `json:"job_status"`
			Parameters string `json:"job_parameters"`
		}
		_, err := c.send(ctx, call{what: "follow the garbage collection on", where: where, method: http.MethodGet, path: "/system/gc/" + done.ID, into: &job, expect: http.StatusOK})
		switch {
		case err != nil:
			return done, err
		case job.Status == "Success":
			var counted struct {
				Freed     int64 `json:"freed_space"`
				Blobs     int   `json:"purged_blobs"`
				Manifests int   `json:"purged_manifests"`
			}
			if err := json.Unmarshal([]byte(job.Parameters), &counted); err == nil { // older Harbors do not count
				done.Freed, done.Blobs, done.Manifests = counted.Freed, counted.Blobs, counted.Manifests
			}
			return done, nil
		case job.Status == "Error", job.Status == "Stopped":
			return done, &fault.Error{What: what, Where: where, Err: fmt.Errorf("garbage collection %s ended with %s", done.ID, job.Status),
				Hint: "its log says more: in Harbor under Clean Up"}
		}
		if err := c.wait(ctx, pause); err != nil {
			return done, err
		}
	}
}
