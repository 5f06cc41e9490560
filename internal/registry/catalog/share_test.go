package catalog_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/policy"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// TestShare wants a registry whose answers never end to leave time for what others answered, also when it is asked more than once.
func TestShare(t *testing.T) {
	s := harborOf(t, registrytest.Config{Instead: func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/tags/list") {
			return false
		}
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return true
	}})
	l := listen(client(s))
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
	defer cancel()
	for _, name := range []string{"team/app", "team/other"} {
		_, err := l.Choose(ctx, imageref.Ref{Registry: s.Host, Repository: name}, policy.Rules{Strategy: policy.Semver, Constraint: "^1"})
		if err == nil || err.Error() != "ask "+s.Host+": no answer in 6s, three quarters of the time" || !strings.Contains(fault.HintOf(err), "--timeout") {
			t.Error(err)
		}
	}
	if ctx.Err() != nil {
		t.Error("there is no time left")
	}
}
