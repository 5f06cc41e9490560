package kube

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/kubetest"
)

// pods is a cluster with some that run a command.
func pods(t *testing.T, run func(kubetest.Command) error) *Cluster {
	t.Helper()
	s := start(t, kubetest.Config{
		Accounts: []kubetest.Account{{User: "system:serviceaccount:runners:ci", Token: token, May: []string{"default/buildkitd-0", "build/buildkitd-0", "build/nosuch"}}},
		Pods:     map[string]func(kubetest.Command) error{"default/buildkitd-0": run, "build/buildkitd-0": run, "secret/buildkitd-0": run},
	})
	c, err := Open(environment(map[string]string{"KUBECONFIG": write(t, map[string]string{"config": s.Kubeconfig(token)}) + "/config"}), "test/1")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// What goes in comes out, in both directions at once and whatever the sizes of its parts are.
func TestExec(t *testing.T) {
	var asked kubetest.Command
	c := pods(t, func(cmd kubetest.Command) error {
		asked = cmd
		fmt.Fprint(cmd.Errors, "not for the stream")
		_, err := io.Copy(cmd.Output, io.LimitReader(cmd.Input, 3<<20))
		return err
	})
	conn, err := c.Exec(t.Context(), Pod{Namespace: "build", Name: "buildkitd-0", Container: "buildkitd"}, "buildctl", "dial-stdio")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	sent := bytes.Repeat([]byte("0123456789abcdef"), 3<<20/16)
	go func() {
		for part := range slices.Chunk(sent, 100_003) {
			_, _ = conn.Write(part)
		}
	}()
	got, err := io.ReadAll(conn)
	if err != nil || !bytes.Equal(got, sent) {
		t.Errorf("%d bytes of %d came back: %v", len(got), len(sent), err)
	}
	if diff := cmp.Diff([]string{"buildctl", "dial-stdio"}, asked.Args); diff != "" || asked.Container != "buildkitd" {
		t.Errorf("asked for in %q: %s", asked.Container, diff)
	}
}

func TestExecInTheNamespaceOfTheContext(t *testing.T) {
	c := pods(t, func(kubetest.Command) error { return nil })
	conn, err := c.Exec(t.Context(), Pod{Name: "buildkitd-0"}, "true")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got, err := io.ReadAll(conn); err != nil || len(got) > 0 {
		t.Errorf("%q, %v", got, err)
	}
}

func TestExecFails(t *testing.T) {
	c := pods(t, func(cmd kubetest.Command) error {
		fmt.Fprint(cmd.Errors, "sh: buildctl:\nnot found")
		return errors.New("command terminated with exit code 127")
	})
	conn, err := c.Exec(t.Context(), Pod{Namespace: "build", Name: "buildkitd-0"}, "buildctl")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	const want = "run a command in pod build/buildkitd-0: command terminated with exit code 127: sh: buildctl: not found"
	if _, err := io.ReadAll(conn); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

func TestExecRefused(t *testing.T) {
	c := pods(t, func(kubetest.Command) error { return nil })
	for _, tt := range []struct {
		pod  Pod
		kind fault.Kind
		want string
		hint string
	}{
		{Pod{Namespace: "secret", Name: "buildkitd-0"}, fault.Denied, "system:serviceaccount:runners:ci may not", "verbs get and create on pods/exec"},
		{Pod{Namespace: "build", Name: "nosuch"}, fault.Failed, "the cluster has no such pod", "kubectl get pods --namespace build"},
		{Pod{Namespace: "build", Name: "../secrets/x"}, fault.Usage, "is no name of a pod", ""},
	} {
		_, err := c.Exec(t.Context(), tt.pod, "true")
		if err == nil || fault.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.want) || !strings.Contains(fault.HintOf(err), tt.hint) {
			t.Errorf("%v: %v (%s), want %s", tt.pod, err, fault.HintOf(err), tt.want)
		}
		if err != nil && strings.Contains(err.Error(), token) {
			t.Errorf("the token is in %v", err)
		}
	}
}

// A server that does not keep to the protocol costs no memory.
func TestFramesRefused(t *testing.T) {
	for name, raw := range map[string]string{
		"too large":      "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff",
		"masked":         "\x82\x81\x00\x00\x00\x00x",
		"ends early":     "\x82\x05ab",
		"never ends":     strings.Repeat("\x02\x7e\xff\xff"+strings.Repeat("x", 1<<16-1), 300),
		"length missing": "\x82\x7e\x00",
	} {
		e := &execution{stream: struct {
			io.Reader
			io.WriteCloser
		}{strings.NewReader(raw), nil}}
		if _, err := e.message(); err == nil || errors.Is(err, io.EOF) && name != "ends early" && name != "length missing" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A ping is answered on the way to a message in parts.
func TestPing(t *testing.T) {
	var sent bytes.Buffer
	e := &execution{stream: struct {
		io.Reader
		io.WriteCloser
	}{strings.NewReader("\x02\x01a\x89\x02hi\x80\x01b"), discard{&sent}}}
	m, err := e.message()
	if err != nil || string(m) != "ab" {
		t.Errorf("%q, %v", m, err)
	}
	pong := sent.Bytes()
	if len(pong) != 8 || pong[0] != 0x8A || pong[1] != 0x82 || pong[6]^pong[2] != 'h' || pong[7]^pong[3] != 'i' {
		t.Errorf("pong % x", pong)
	}
}

type discard struct{ io.Writer }

func (discard) Close() error { return nil }
