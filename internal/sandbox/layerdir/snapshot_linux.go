package layerdir

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Snapshot is what the files of a root filesystem look like at one moment, without their contents.
type Snapshot struct{ top *folder }

// folder is what is in a directory, sorted by names.
type folder struct{ entries []entry }

type entry struct {
	name  string
	stamp stamp
	dir   *folder // of a directory
}

// stamp changes whenever a file does: nobody can set ctime, and every change of content or attributes does.
type stamp struct {
	ino            uint64
	ctime, size    int64 // ctime in nanoseconds
	mode, uid, gid uint32
}

// Look takes a snapshot of all that is below a directory. What changes after it has returned differs from it, for it waits,
// some milliseconds at most, until the clock by which the kernel stamps changes has moved on.
func Look(ctx context.Context, root string) (*Snapshot, error) {
	top, err := openTop(root)
	if err != nil {
		return nil, err
	}
	defer unix.Close(top)
	s := &Snapshot{top: &folder{}}
	w := walk{ctx: ctx, top: top, todo: []task{{"", s.top}}}
	w.done = sync.NewCond(&w.mu)
	var workers sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		workers.Go(w.work)
	}
	workers.Wait()
	if w.err != nil {
		return nil, fmt.Errorf("looking through a root filesystem: %w", w.err)
	}
	return s, moveOn(ctx, w.newest)
}

// moveOn waits until the kernel's coarse clock is past a time. It gives up on a clock that was set back.
func moveOn(ctx context.Context, past int64) error {
	const tick = time.Millisecond
	for range 50 {
		var now unix.Timespec
		if err := unix.ClockGettime(unix.CLOCK_REALTIME_COARSE, &now); err != nil || now.Nano() > past {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(tick):
		}
	}
	return nil
}

// walk visits directories, several at a time.
type walk struct {
	ctx context.Context
	top int

	mu     sync.Mutex
	done   *sync.Cond // a directory, or all
	todo   []task
	busy   int
	newest int64 // ctime of all
	err    error
}

// task is a directory to look into; its name is "" or ends in a slash.
type task struct {
	name string
	into *folder
}

func (w *walk) work() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for {
		for len(w.todo) == 0 && w.busy > 0 && w.err == nil {
			w.done.Wait()
		}
		if len(w.todo) == 0 || w.err != nil {
			return
		}
		last := len(w.todo) - 1
		t := w.todo[last]
		w.todo = w.todo[:last]
		w.busy++
		w.mu.Unlock()
		further, newest, err := w.visit(t)
		w.mu.Lock()
		w.busy--
		w.todo = append(w.todo, further...)
		w.newest = max(w.newest, newest)
		if w.err == nil {
			w.err = err
		}
		w.done.Broadcast()
	}
}

// visit fills a task's folder, and returns the directories in it and the newest ctime.
func (w *walk) visit(t task) (further []task, newest int64, err error) {
	if err := w.ctx.Err(); err != nil {
		return nil, 0, context.Cause(w.ctx)
	}
	if err := bounded(t.name); err != nil {
		return nil, 0, err
	}
	fd, err := openInside(w.top, t.name, directoryFlags, unix.RESOLVE_BENEATH|unix.RESOLVE_NO_SYMLINKS)
	if err != nil {
		return nil, 0, fmt.Errorf("opening /%s: %w", t.name, err)
	}
	defer unix.Close(fd)
	names, err := children(fd)
	if err != nil {
		return nil, 0, err
	}
	t.into.entries = make([]entry, 0, len(names))
	for _, name := range names {
		st, err := there(fd, name, t.name+name)
		if err != nil {
			return nil, 0, err
		}
		e := entry{name: name, stamp: stamp{ino: st.Ino, ctime: st.Ctim.Nano(), size: st.Size, mode: st.Mode, uid: st.Uid, gid: st.Gid}}
		newest = max(newest, e.stamp.ctime)
		if isDir(st) {
			e.dir = &folder{}
			further = append(further, task{t.name + name + "/", e.dir})
		}
		t.into.entries = append(t.into.entries, e)
	}
	return further, newest, nil
}
