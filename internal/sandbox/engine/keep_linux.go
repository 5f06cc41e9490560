package engine

import (
	"archive/tar"
	"bufio"
	"bytes"
	"context"
	"encoding/gob"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime/multipart"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/ksera524/imgbump/internal/sandbox/layerdir"
	"github.com/ksera524/imgbump/internal/sandbox/step"
	"github.com/ksera524/imgbump/internal/sandbox/tempdir"
	"github.com/ksera524/imgbump/internal/sandbox/wire"
)

// keep is the privileged side: it answers requests until its standard input ends, and then leaves nothing behind.
func keep(stdin io.Reader, stdout io.Writer) error {
	if err := protect(); err != nil {
		return err
	}
	in := bufio.NewReader(stdin)
	var start wire.Start
	line, err := in.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &start)
	}
	if err != nil {
		return fmt.Errorf("reading what to do: %w", err)
	}
	e, s, ready := choose(start)
	if e == nil {
		return json.NewEncoder(stdout).Encode(ready)
	}
	go tempdir.Clean(filepath.Dir(s.dir), prefix)
	k := &keeper{store: s, engine: e}
	err = k.answer(start, func() error { return json.NewEncoder(stdout).Encode(ready) }, in)
	for _, dir := range start.Remove {
		os.RemoveAll(dir)
	}
	return errors.Join(err, endOrphans(patience), s.remove())
}

// protect keeps this process from the steps, from the umask of whoever started it, and from signals, which are the build's
// business: that ends this one by its standard input.
func protect() error {
	signal.Notify(make(chan os.Signal, 1), unix.SIGINT, unix.SIGTERM, unix.SIGHUP, unix.SIGPIPE)
	unix.Umask(0o022)
	if err := unix.Prctl(unix.PR_SET_DUMPABLE, 0, 0, 0, 0); err != nil {
		return failed("prctl", "", err)
	}
	return failed("prctl", "", unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0))
}

// keeper answers requests.
type keeper struct {
	store  *store
	engine engine
	busy   sync.WaitGroup
}

// answer listens, says so, and serves until in ends. It returns when no request is left.
func (k *keeper) answer(start wire.Start, listening func() error, in io.Reader) error {
	l, err := net.Listen("unix", start.Socket)
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	defer l.Close()
	if err := os.Lchown(start.Socket, start.Owner, -1); err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	server := &http.Server{Handler: k.handler(), BaseContext: func(net.Listener) context.Context { return ctx }}
	go server.Serve(l)
	if err := listening(); err != nil {
		return err
	}
	io.Copy(io.Discard, in)
	cancel(errors.New("the build has ended"))
	server.Close()
	k.busy.Wait()
	return nil
}

// handler answers each request with a body, and in its trailer with how it went.
func (k *keeper) handler() http.Handler {
	mux := http.NewServeMux()
	for pattern, do := range map[string]func(http.ResponseWriter, *http.Request) error{
		"PUT " + wire.LayerPath: k.unpack, "GET " + wire.HeadersPath: k.headers, "GET " + wire.TarPath: k.tar,
		"GET " + wire.FilePath: k.file, "PUT " + wire.CachePath: k.loadCache, "GET " + wire.CachePath: k.saveCache,
		"POST " + wire.RunPath: k.run,
	} {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			k.busy.Add(1)
			defer k.busy.Done()
			if r.Method == http.MethodPut {
				http.NewResponseController(w).EnableFullDuplex() // an error is told before all tars have come
			}
			w.Header().Set("Trailer", wire.Outcome)
			if err := do(w, r); !errors.Is(err, errNone) {
				w.Header().Set(wire.Outcome, wire.NewFailure(err).Encode())
			}
		})
	}
	return mux
}

// errNone tells that the answer has been that there is nothing.
var errNone = errors.New("nothing there")

func (k *keeper) run(w http.ResponseWriter, r *http.Request) error {
	var p step.Process
	body, err := io.ReadAll(r.Body)
	if err == nil {
		err = gob.NewDecoder(bytes.NewReader(body)).Decode(&p)
	}
	if err != nil {
		return fmt.Errorf("reading a step: %w", err)
	}
	return k.engine.run(r.Context(), p, &flushed{w, http.NewResponseController(w)})
}

// flushed passes on what is written at once.
type flushed struct {
	http.ResponseWriter
	now *http.ResponseController
}

func (f *flushed) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	if err == nil {
		err = f.now.Flush()
	}
	return n, err
}

// received has the tars of a request unpacked into a new folder.
func (k *keeper) received(r *http.Request, unpack func(context.Context, string, ...io.Reader) error) (name string, err error) {
	form, err := r.MultipartReader()
	if err != nil {
		return "", err
	}
	count, err := strconv.Atoi(r.URL.Query().Get(wire.Parts))
	if err != nil {
		return "", err
	}
	tars := make([]io.Reader, count)
	for i := range tars {
		tars[i] = &part{form: form}
	}
	if name, err = k.store.folder(); err != nil {
		return "", err
	}
	if err := unpack(r.Context(), k.store.path(name), tars...); err != nil {
		k.store.drop(name)
		return "", k.store.full(err)
	}
	return name, nil
}

// part is the next part of a form, from its first Read on.
type part struct {
	form *multipart.Reader
	part *multipart.Part
}

func (p *part) Read(b []byte) (int, error) {
	if p.part == nil {
		next, err := p.form.NextPart()
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, err
		}
		p.part = next
	}
	return p.part.Read(b)
}

func (k *keeper) unpack(_ http.ResponseWriter, r *http.Request) error {
	name, err := k.received(r, layerdir.Unpack)
	if err != nil {
		return err
	}
	k.store.keep(r.URL.Query().Get(wire.ID), layer{name: name})
	return nil
}

func (k *keeper) loadCache(_ http.ResponseWriter, r *http.Request) error {
	name, err := k.received(r, layerdir.UnpackFiles)
	if err != nil {
		return err
	}
	k.store.addCache(r.URL.Query().Get(wire.ID), name)
	return nil
}

// entries are those of the layer that a request names.
func (k *keeper) entries(r *http.Request) (dir string, all []*tar.Header, err error) {
	l, err := k.store.layer(r.URL.Query().Get(wire.ID))
	if err != nil {
		return "", nil, err
	}
	dir = k.store.path(l.name)
	all, err = layerdir.Entries(r.Context(), dir, k.store.paths(l.below)...)
	return dir, all, err
}

func (k *keeper) headers(w http.ResponseWriter, r *http.Request) error {
	_, all, err := k.entries(r)
	if err != nil {
		return err
	}
	out := bufio.NewWriter(w)
	enc := gob.NewEncoder(out)
	for _, h := range all {
		if err := enc.Encode(h); err != nil {
			return err
		}
	}
	return out.Flush()
}

func (k *keeper) tar(w http.ResponseWriter, r *http.Request) error {
	dir, all, err := k.entries(r)
	if err != nil {
		return err
	}
	return write(r.Context(), w, dir, all)
}

func write(ctx context.Context, w io.Writer, dir string, all []*tar.Header) error {
	out := bufio.NewWriterSize(w, 64<<10)
	tw := tar.NewWriter(out)
	if err := layerdir.Write(ctx, dir, all, tw); err != nil {
		return err
	}
	return errors.Join(tw.Close(), out.Flush())
}

func (k *keeper) file(w http.ResponseWriter, r *http.Request) error {
	l, err := k.store.layer(r.URL.Query().Get(wire.ID))
	if err != nil {
		return err
	}
	f, err := layerdir.File(k.store.path(l.name), r.URL.Query().Get(wire.Name))
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, f)
	return err
}

func (k *keeper) saveCache(w http.ResponseWriter, r *http.Request) error {
	k.store.mu.Lock()
	c := k.store.caches[r.URL.Query().Get(wire.ID)]
	k.store.mu.Unlock()
	if c == nil {
		w.WriteHeader(http.StatusNotFound)
		return errNone
	}
	dir := k.store.path(c.name)
	all, err := layerdir.Entries(r.Context(), dir)
	if err != nil {
		return err
	}
	return write(r.Context(), w, dir, all)
}
