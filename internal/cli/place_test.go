package cli

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/ksera524/imgbump/internal/fault"
)

func TestPlaceOf(t *testing.T) {
	there := filepath.Join(t.TempDir(), "Dockerfile")
	if err := os.WriteFile(there, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	at := func(where string, err error) error { return &fault.Error{Where: where, Err: err} }
	plain := errors.New("x")
	for _, tt := range []struct {
		err  error
		file string
		line int
	}{
		{at(there+":12", plain), there, 12},
		{fmt.Errorf("build: %w", at("a build", at(there+":3", plain))), there, 3},
		{at("127.0.0.1:5000", plain), "", 0},
		{at(there+".none:1", plain), "", 0},
		{at(filepath.Dir(there)+":1", plain), "", 0},
		{at(there, plain), "", 0},
		{plain, "", 0},
	} {
		if file, line := placeOf(tt.err); file != tt.file || line != tt.line {
			t.Errorf("%v: %s %d", tt.err, file, line)
		}
	}
}
