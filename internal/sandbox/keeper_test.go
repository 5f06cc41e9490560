package sandbox

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
)

// Who has waited for too long is told what to do, and who has stopped waiting only that.
func TestRefused(t *testing.T) {
	late, cancel := context.WithTimeoutCause(t.Context(), 0, errSilent)
	defer cancel()
	err := new(keeper).refused(late, io.EOF)
	if !errors.Is(err, errSilent) || !strings.HasPrefix(err.Error(), "run RUN steps: ") || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	stopped := errors.New("stopped")
	ctx, stop := context.WithCancelCause(t.Context())
	stop(stopped)
	if err := new(keeper).refused(ctx, io.EOF); err != stopped {
		t.Errorf("%v", err)
	}
}
