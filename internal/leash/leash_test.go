package leash_test

import (
	"context"
	"io"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/ksera524/imgbump/internal/leash"
)

// TestPut wants a program to end with all that it started, and one that ran away to hold nobody up.
func TestPut(t *testing.T) {
	for _, tt := range []struct {
		script string
		ends   bool
	}{{"sleep 60 & echo; wait", true}, {"setsid sleep 60 & echo; wait", false}} {
		alive, held, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		defer alive.Close()
		ctx, cancel := context.WithCancel(t.Context())
		cmd := exec.CommandContext(ctx, "sh", "-c", tt.script)
		cmd.ExtraFiles = []*os.File{held}
		cmd.Stdout = writer(cancel)
		leash.Put(cmd)
		began := time.Now()
		if err := cmd.Run(); err == nil || time.Since(began) > 30*time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		held.Close()
		if tt.ends {
			io.ReadAll(alive) // to the end of the last one that holds it
		}
	}
}

// writer ends what writes to it.
type writer func()

func (w writer) Write(p []byte) (int, error) {
	w()
	return len(p), nil
}
