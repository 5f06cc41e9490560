package webhook

import (
	"encoding/json"
	"errors"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/ksera524/imgbump/internal/imageref"
)

const (
	maxBody  = 1 << 20          // bytes of a delivery; Harbor's has under 1 KiB
	patience = 10 * time.Second // that a body may take to arrive
	atOnce   = 32               // bodies of a kind that are held at a time
	queueing = 2 * time.Second  // that a delivery waits to be among them
)

// receiver is the handler. Its doors are the kinds that are served.
type receiver struct {
	Options
	doors map[Kind]*door
	past  deliveries
}

// door is where the deliveries of a kind come in. The secret is "" for one that is open.
type door struct {
	kind     Kind
	secret   Secret
	rate     *rate.Limiter
	held     chan struct{}
	complain rate.Sometimes
}

func newDoor(kind Kind, secret Secret, perSecond int) *door {
	if perSecond == 0 {
		perSecond = DefaultRate
	}
	return &door{
		kind: kind, secret: secret,
		rate:     rate.NewLimiter(rate.Limit(perSecond), 10*perSecond),
		held:     make(chan struct{}, atOnce),
		complain: rate.Sometimes{First: 10, Interval: time.Second},
	}
}

// answer is what becomes of a delivery. Its text never repeats what was sent.
type answer struct {
	status  int
	outcome string
	problem string
	images  int // that somebody waits for
	unknown int // that nobody does
	wait    time.Duration
}

func refusal(status int, outcome, problem string) answer {
	return answer{status: status, outcome: outcome, problem: problem}
}

// ServeHTTP takes a delivery.
func (rc *receiver) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d := rc.doors[kindOf(r)]
	if d == nil {
		write(w, refusal(http.StatusNotFound, "", "no such type of webhook, or no secret is set for it here"))
		return
	}
	if r.Method == http.MethodOptions && d.kind == CloudEvents {
		d.shakeHands(w, r)
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		write(w, refusal(http.StatusMethodNotAllowed, "", "webhooks are posted"))
		return
	}
	a := rc.receive(d, w, r)
	rc.Observe(d.kind, a.outcome)
	rc.tell(d, r, a)
	write(w, a)
}

// kindOf is the type that a request names: in its path, as ?type=, or as X-Registry-Type.
func kindOf(r *http.Request) Kind {
	if _, kind, found := strings.Cut(r.URL.Path, "/webhook/"); found && kind != "" {
		return Kind(kind)
	}
	if kind := r.URL.Query().Get("type"); kind != "" {
		return Kind(kind)
	}
	return Kind(r.Header.Get("X-Registry-Type"))
}

// shakeHands answers what Azure Event Grid asks before it sends CloudEvents (CloudEvents, HTTP webhooks, section 4).
func (d *door) shakeHands(w http.ResponseWriter, r *http.Request) {
	if d.secret != "" && !d.secret.shown(r) {
		write(w, refusal(http.StatusUnauthorized, "", "the secret is missing or wrong"))
		return
	}
	w.Header().Set("Allow", "POST, OPTIONS")
	if origin := r.Header.Get("WebHook-Request-Origin"); origin != "" {
		w.Header().Set("WebHook-Allowed-Origin", origin)
	}
	w.WriteHeader(http.StatusOK)
}

// receive checks a delivery, reads it, and notifies of its images.
func (rc *receiver) receive(d *door, w http.ResponseWriter, r *http.Request) answer {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(patience)) // a recorder in a test has none
	if d.tested(r) {
		return answer{status: http.StatusOK, outcome: Ignored}
	}
	signs := d.kind == GHCR
	if d.secret != "" && !signs && !d.secret.shown(r) {
		return refusal(http.StatusUnauthorized, Unauthorized, "the secret is missing or wrong")
	}
	select {
	case d.held <- struct{}{}:
		defer func() { <-d.held }()
	case <-time.After(queueing):
		return limited(time.Second)
	case <-r.Context().Done():
		return refusal(http.StatusRequestTimeout, Malformed, "the request broke off")
	}
	body, a := read(w, r)
	if a.status != 0 {
		return a
	}
	if d.secret != "" && signs && !d.secret.signed(body, r.Header.Get("X-Hub-Signature-256")) {
		return refusal(http.StatusUnauthorized, Unauthorized, "the signature is missing or wrong")
	}
	if turn := d.rate.Reserve(); turn.Delay() > 0 {
		wait := turn.Delay()
		turn.Cancel()
		return limited(wait)
	}
	return rc.take(d, delivery{header: r.Header, query: r.URL.Query(), body: body})
}

func limited(wait time.Duration) answer {
	return answer{status: http.StatusTooManyRequests, outcome: Limited, problem: "too many webhooks at once", wait: wait}
}

// tested reports whether r is what the button "Test endpoint" of Harbor sends: nothing at all, and without the secret.
func (d *door) tested(r *http.Request) bool {
	return d.kind == Harbor && r.ContentLength == 0 && r.Header.Get("Authorization") == "" && len(r.Header["X-Webhook-Secret"]) == 0 && !r.URL.Query().Has("secret")
}

// read is a request's body, or an answer why there is none.
func read(w http.ResponseWriter, r *http.Request) ([]byte, answer) {
	tooLarge := refusal(http.StatusRequestEntityTooLarge, TooLarge, "it is larger than 1 MiB")
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, tooLarge
	case err != nil:
		return nil, refusal(http.StatusRequestTimeout, Malformed, "the request broke off, or took longer than "+patience.String())
	}
	return body, answer{}
}

// take notifies of the images in a delivery.
func (rc *receiver) take(d *door, sent delivery) answer {
	said, err := parsers[d.kind](sent)
	if err != nil {
		return refusal(http.StatusBadRequest, Malformed, err.Error())
	}
	if len(said.pushes) == 0 {
		return answer{status: http.StatusOK, outcome: Ignored}
	}
	id := string(d.kind) + " " + said.id
	if said.id != "" && rc.past.has(id) {
		return answer{status: http.StatusAccepted, outcome: Replayed}
	}
	a := answer{status: http.StatusAccepted, outcome: Unknown}
	for _, p := range said.pushes {
		image, err := p.image(rc.Aliases)
		switch {
		case err != nil:
			a.unknown++
			d.complain.Do(func() { rc.Log.Warn("a webhook names an image that no manifest can", "type", d.kind, "error", err) })
		case rc.Notify(Event{Image: image, At: plausible(p.at)}):
			a.images++
			rc.Log.Debug("an image was pushed", "type", d.kind, "image", image.String())
		default:
			a.unknown++
			d.complain.Do(func() {
				rc.Log.Info("nothing here follows an image that was pushed", "type", d.kind, "image", image.String())
			})
		}
	}
	if a.images > 0 {
		a.outcome = Accepted
		rc.past.add(id)
	}
	return a
}

// plausible is a time without what a clock that is ahead adds to it.
func plausible(at time.Time) time.Time {
	if now := time.Now(); at.After(now) {
		return now
	}
	return at
}

// tell logs what was refused, as long as it is not too often.
func (rc *receiver) tell(d *door, r *http.Request, a answer) {
	if a.problem != "" {
		d.complain.Do(func() {
			rc.Log.Warn("a webhook was refused", "type", d.kind, "from", r.RemoteAddr, "outcome", a.outcome, "error", a.problem)
		})
	}
}

func write(w http.ResponseWriter, a answer) {
	said := struct {
		Status  string `json:"status,omitempty"`
		Images  int    `json:"images,omitempty"`
		Unknown int    `json:"unknown,omitempty"`
		Error   string `json:"error,omitempty"`
	}{a.outcome, a.images, a.unknown, a.problem}
	h := w.Header()
	h.Set("Content-Type", "application/json")
	h.Set("Cache-Control", "no-store")
	if a.status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="webhook"`)
	}
	if a.wait > 0 {
		h.Set("Retry-After", strconv.Itoa(int(math.Ceil(a.wait.Seconds()))))
	}
	w.WriteHeader(a.status)
	_ = json.NewEncoder(w).Encode(said) // who is gone needs no answer
}

// image is what was pushed, as manifests name it.
func (p push) image(aliases map[string]string) (imageref.Ref, error) {
	registry := strings.ToLower(p.registry)
	if alias, ok := aliases[registry]; ok {
		registry = alias
	}
	return reference(registry, strings.ToLower(p.repository), p.tag, p.digest)
}
