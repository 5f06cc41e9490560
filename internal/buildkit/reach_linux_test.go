package buildkit_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	v1 "github.com/google/go-containerregistry/pkg/v1"

	"github.com/ksera524/imgbump/internal/buildkit"
	"github.com/ksera524/imgbump/internal/dockerfile"
	"github.com/ksera524/imgbump/internal/fault"
	"github.com/ksera524/imgbump/internal/kube"
	"github.com/ksera524/imgbump/internal/kubetest"
)

// waiting is a build whose step has begun and never ends; marker is in the step's command line.
func waiting(t *testing.T, ctx context.Context, d daemon) (marker string, failed <-chan error) {
	t.Helper()
	marker = fmt.Sprintf("86400.%d", time.Now().UnixNano())
	r := shell(t, "COPY --chmod=755 busybox /bin/sleep\nRUN echo begun; sleep "+marker+"; true\n") // the shell stays: during an exec there is no command line to find
	begun := make(chan struct{})
	r.Step = func(s dockerfile.Step) {
		if strings.HasPrefix(string(s.Output), "begun") {
			close(begun)
		}
	}
	ended := make(chan error, 1)
	go func() {
		_, _, err := d.client(t).Build(ctx, r)
		ended <- err
	}()
	select {
	case <-begun:
	case err := <-ended:
		t.Fatalf("it ended: %v", err)
	}
	return marker, ended
}

// running are the processes that have marker in their command line.
func running(marker string) (all []int) {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, file := range files {
		if line, err := os.ReadFile(file); err == nil && strings.Contains(string(line), marker) {
			id, _ := strconv.Atoi(filepath.Base(filepath.Dir(file)))
			all = append(all, id)
		}
	}
	return all
}

func TestInterrupted(t *testing.T) {
	d := startDaemon(t, "")
	ctx, interrupt := context.WithCancel(t.Context())
	marker, failed := waiting(t, ctx, d)
	if len(running(marker)) == 0 {
		t.Fatal("nothing runs")
	}
	interrupt()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	for len(running(marker)) > 0 { // or the test's time is up
		runtime.Gosched()
	}
}

func TestDaemonDies(t *testing.T) {
	d := startDaemon(t, "")
	marker, failed := waiting(t, t.Context(), d)
	must(t, d.Process.Kill())
	if err := <-failed; err == nil || !strings.HasPrefix(err.Error(), "build with BuildKit "+d.Address+": it went away: ") || fault.HintOf(err) == "" {
		t.Errorf("%v", err)
	}
	for _, id := range running(marker) { // what a daemon leaves that is killed so
		_ = syscall.Kill(id, syscall.SIGKILL)
	}
}

func TestNobodyThere(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	free := listener.Addr().String()
	listener.Close()
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	for address, want := range map[string]string{
		"unix:///nosuch/socket":                 "reach BuildKit at unix:///nosuch/socket: no such file or directory",
		"tcp://" + free:                         "reach BuildKit at tcp://" + free + ": connection refused",
		"tcp://" + web.Listener.Addr().String(): "reach BuildKit at tcp://" + web.Listener.Addr().String() + ": ",
	} {
		c, err := buildkit.New(buildkit.Options{Address: address})
		must(t, err)
		_, _, err = c.Build(t.Context(), request(t, "FROM scratch\n", nil))
		if err == nil || !strings.HasPrefix(err.Error(), want) || fault.HintOf(err) == "" {
			t.Errorf("%v, want %s", err, want)
		}
	}
}

func TestAddressRefused(t *testing.T) {
	for _, tt := range []struct{ address, want string }{
		{"", "is no address of BuildKit"},
		{"docker-container://x", "docker-container:// needs a program"},
		{"ssh://host", "ssh:// needs a program"},
		{"tcp://host", "is not tcp://HOST:PORT"},
		{"tcp://user:s3cret@host:1", "is no address of BuildKit"},
		{"kube-pod://", "names no pod"},
		{"kube-pod://pod?context=x", "the cluster is that of the current context"},
	} {
		_, err := buildkit.New(buildkit.Options{Address: tt.address, Pod: func(context.Context, buildkit.Pod, ...string) (net.Conn, error) { return nil, nil }})
		if err == nil || fault.KindOf(err) != fault.Usage || !strings.Contains(err.Error(), tt.want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v, want %s", tt.address, err, tt.want)
		}
	}
}

// authority signs certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

// sign writes NAME.crt and NAME.key into a folder. Without an authority the certificate is one.
func sign(t *testing.T, folder, name string, by *authority) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{"buildkitd"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		IsCA:        by == nil, BasicConstraintsValid: true,
	}
	if by == nil {
		by = &authority{template, key}
		template.KeyUsage = x509.KeyUsageCertSign
	}
	der, err := x509.CreateCertificate(rand.Reader, template, by.certificate, &key.PublicKey, by.key)
	must(t, err)
	private, err := x509.MarshalPKCS8PrivateKey(key)
	must(t, err)
	must(t, os.WriteFile(filepath.Join(folder, name+".crt"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	must(t, os.WriteFile(filepath.Join(folder, name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600))
	return by
}

func TestCertificates(t *testing.T) {
	dir, strange := t.TempDir(), t.TempDir()
	ca := sign(t, dir, "ca", nil)
	sign(t, dir, "server", ca)
	sign(t, dir, "tls", ca)
	sign(t, strange, "tls", sign(t, strange, "ca", nil))
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, err)
	address := "tcp://" + listener.Addr().String()
	listener.Close()
	file := func(name string) string { return filepath.Join(dir, name) }
	startDaemon(t, "", "--addr", address, "--tlscacert", file("ca.crt"), "--tlscert", file("server.crt"), "--tlskey", file("server.key"))
	for name, tt := range map[string]struct {
		tls  buildkit.TLS
		want string
		kind fault.Kind
	}{
		"folder":          {buildkit.TLS{Dir: dir, ServerName: "buildkitd"}, "", 0},
		"files":           {buildkit.TLS{CA: file("ca.crt"), Certificate: file("tls.crt"), Key: file("tls.key"), ServerName: "buildkitd"}, "", 0},
		"another name":    {buildkit.TLS{Dir: dir}, "its certificate is for another name", fault.Failed},
		"not its CA":      {buildkit.TLS{CA: filepath.Join(strange, "ca.crt"), Certificate: file("tls.crt"), Key: file("tls.key"), ServerName: "buildkitd"}, "its certificate is signed by an authority that is not trusted here", fault.Failed},
		"no certificate":  {buildkit.TLS{CA: file("ca.crt"), ServerName: "buildkitd"}, "it does not accept our certificate", fault.Denied},
		"not ours":        {buildkit.TLS{CA: file("ca.crt"), Certificate: filepath.Join(strange, "tls.crt"), Key: filepath.Join(strange, "tls.key"), ServerName: "buildkitd"}, "it does not accept our certificate", fault.Denied},
		"no TLS":          {buildkit.TLS{}, "it does not answer", fault.Failed},
		"no such folder":  {buildkit.TLS{Dir: "/nosuch"}, "there is no ca.pem or ca.crt", fault.Usage},
		"folder and file": {buildkit.TLS{Dir: dir, CA: file("ca.crt")}, "files beside it", fault.Usage},
		"not a key":       {buildkit.TLS{Certificate: file("tls.crt"), Key: file("tls.crt")}, "read " + file("tls.crt"), fault.Usage},
	} {
		t.Run(name, func(t *testing.T) {
			c, err := buildkit.New(buildkit.Options{Address: address, TLS: tt.tls})
			if err == nil {
				var closer io.Closer
				if _, closer, err = c.Build(t.Context(), request(t, "FROM scratch\nCOPY a /\n", map[string]string{"a": "b"})); err == nil {
					closer.Close()
				}
			}
			switch {
			case tt.want == "" && err != nil:
				t.Error(err)
			case tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want) || fault.KindOf(err) != tt.kind || fault.HintOf(err) == ""):
				t.Errorf("%v (%v, %s), want %s", err, fault.KindOf(err), fault.HintOf(err), tt.want)
			}
		})
	}
}

// One connection is enough: each would be a process in the pod.
func TestPod(t *testing.T) {
	d := startDaemon(t, "")
	var connections atomic.Int32
	c, err := buildkit.New(buildkit.Options{Address: "kube-pod://buildkitd-0?namespace=build&container=daemon", Pod: func(_ context.Context, pod buildkit.Pod, command ...string) (net.Conn, error) {
		if pod != (buildkit.Pod{Namespace: "build", Name: "buildkitd-0", Container: "daemon"}) || strings.Join(command, " ") != "buildctl dial-stdio" {
			t.Errorf("%v in %+v", command, pod)
		}
		connections.Add(1)
		return net.Dial("unix", strings.TrimPrefix(d.Address, "unix://"))
	}})
	must(t, err)
	build(t, c, request(t, "FROM scratch\nCOPY a /\n", map[string]string{"a": strings.Repeat("x", 1<<20)}))
	if n := connections.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// As a user has it: a cluster's API server, and buildctl in the pod.
func TestPodOfACluster(t *testing.T) {
	d := startDaemon(t, "")
	const token = "T0kenOfTheRunner"
	server := kubetest.New(kubetest.Config{
		Accounts: []kubetest.Account{{User: "system:serviceaccount:runners:ci", Token: token, May: []string{"build/buildkitd-0"}}},
		Pods: map[string]func(kubetest.Command) error{"build/buildkitd-0": func(c kubetest.Command) error {
			cmd := d.Command(c.Args[0], c.Args[1:]...)
			cmd.Env = append(os.Environ(), "BUILDKIT_HOST="+d.Address)
			cmd.Stdin, cmd.Stdout, cmd.Stderr = c.Input, c.Output, c.Errors
			return cmd.Run()
		}},
	})
	defer server.Close()
	config := filepath.Join(t.TempDir(), "config")
	must(t, os.WriteFile(config, []byte(server.Kubeconfig(token)), 0o600))
	environment := map[string]string{"KUBECONFIG": config}
	cluster, err := kube.Open(func(name string) string { return environment[name] }, "test/1")
	must(t, err)
	in := func(ctx context.Context, pod buildkit.Pod, command ...string) (net.Conn, error) {
		return cluster.Exec(ctx, kube.Pod(pod), command...)
	}
	c, err := buildkit.New(buildkit.Options{Address: "kube-pod://buildkitd-0?namespace=build", Pod: in})
	must(t, err)
	content := strings.Repeat("0123456789abcdef", 1<<18) // 4 MiB
	if got := files(t, build(t, c, request(t, "FROM scratch\nCOPY a /\n", map[string]string{"a": content})).(v1.Image))["a"]; got != "644 0:0 "+content {
		t.Errorf("%d bytes arrived", len(got))
	}
	c, err = buildkit.New(buildkit.Options{Address: "kube-pod://other", Pod: in})
	must(t, err)
	if _, _, err = c.Build(t.Context(), request(t, "FROM scratch\n", nil)); fault.KindOf(err) != fault.Denied || !strings.Contains(fault.HintOf(err), "pods/exec") {
		t.Errorf("%v (%s)", err, fault.HintOf(err))
	}
}
