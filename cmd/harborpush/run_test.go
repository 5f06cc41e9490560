package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ksera524/imgbump/internal/sandbox"
	"github.com/ksera524/imgbump/internal/without"
)

// isolates is the condition isolates: RUN can work here, and there is a busybox to make a base image of.
func isolates(condition string) (bool, error) {
	if condition != "isolates" {
		return false, fmt.Errorf("unknown condition %s", condition)
	}
	if without.Strict() && !canRun() {
		return false, errors.New("RUN needs root and busybox")
	}
	return canRun(), nil
}

// needsRUN ends a test where RUN cannot work.
func needsRUN(t *testing.T) {
	t.Helper()
	if !canRun() {
		without.Skip(t, "root and busybox")
	}
}

var canRun = sync.OnceValue(func() bool {
	_, err := exec.LookPath("busybox")
	s := sandbox.New(sandbox.Options{})
	defer s.Close()
	return err == nil && s.Probe(context.Background()) == nil
})

// makeBusybox makes an OCI layout busybox.oci of busybox, to be given as --build-context busybox=oci-layout://busybox.oci.
func makeBusybox(ts *testscript.TestScript, neg bool, args []string) {
	program, err := exec.LookPath("busybox")
	ts.Check(err)
	bin := filepath.Join(ts.MkAbs("busybox"), "bin")
	ts.Check(os.MkdirAll(bin, 0o755))
	data, err := os.ReadFile(program)
	ts.Check(err)
	ts.Check(os.WriteFile(filepath.Join(bin, "busybox"), data, 0o755))
	for name := range strings.FieldsSeq("sh cat echo env false grep id ls printf sleep touch true wc yes") {
		ts.Check(os.Symlink("busybox", filepath.Join(bin, name)))
	}
	ts.Check(os.WriteFile(ts.MkAbs("busybox/Dockerfile"), []byte("FROM scratch\nCOPY bin /bin\n"), 0o644))
	ts.Check(ts.Exec("harborpush", "build", "busybox", "-o", "oci:busybox.oci", "--quiet"))
}

func TestParseHost(t *testing.T) {
	for typed, want := range map[string]string{
		"a:10.0.0.1": "10.0.0.1 a", "a=10.0.0.1": "10.0.0.1 a", "a:::1": "::1 a", "a=[fe80::1]": "fe80::1 a",
		"a": "", "a:b": "", ":10.0.0.1": "", "a b:10.0.0.1": "", "a:host-gateway": "", "a\nb:10.0.0.1": "",
	} {
		got, err := parseHost(typed)
		if got != want || (err != nil) != (want == "") {
			t.Errorf("%q: %q %v", typed, got, err)
		}
	}
}

func TestParseSize(t *testing.T) {
	for typed, want := range map[string]int64{"": 0, "512": 512, "64m": 64 << 20, "1G": 1 << 30, "2kb": 2 << 10, "3KiB": 3 << 10, "7b": 7} {
		if got, err := parseSize(typed); got != want || err != nil {
			t.Errorf("%q: %d %v", typed, got, err)
		}
	}
	for _, typed := range []string{"x", "-1", "1.5g", "1 g", "9999999999", "1e"} {
		if _, err := parseSize(typed); err == nil {
			t.Errorf("%q is a size", typed)
		}
	}
}

func TestParseSecrets(t *testing.T) {
	for text, want := range map[string]map[string]string{
		"":                                    {},
		"a=1\n\nb=x=y \r\n":                   {"a": "1", "b": "x=y "},
		"\"key=one\ntwo \"\"three\"\"\"\nb=2": {"key": "one\ntwo \"three\"", "b": "2"},
		"a=":                                  {"a": ""},
	} {
		secrets, err := parseSecrets(text)
		got := map[string]string{}
		for id, value := range secrets {
			got[id] = string(value)
		}
		if d := cmp.Diff(want, got); d != "" || err != nil {
			t.Errorf("%q: %v %s", text, err, d)
		}
	}
	for _, text := range []string{"S3cret", "=S3cret", "\"a=S3cret", "\"a=S3cret\" S3cret"} {
		if _, err := parseSecrets(text); err == nil || strings.Contains(err.Error(), "S3cret") {
			t.Errorf("%q: %v", text, err)
		}
	}
}
