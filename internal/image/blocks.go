package image

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"runtime"
	"sync"
	"sync/atomic"

	"github.com/klauspost/compress/flate"
)

// blockSize is how much of a stream one goroutine compresses at a time, in bytes. It is fixed, so that the result does not
// depend on the machine.
const blockSize = 512 << 10

// mostBlocks bounds how many blocks of one stream are in memory.
const mostBlocks = 8

// gzipStream is one gzip member (RFC 1952) whose blocks are compressed side by side. Each ends at a byte boundary, as after
// a flush, so that they can stand one after the other; none refers to the one before.
type gzipStream struct {
	level     int
	sum, size uint32
	next      *block
	queue     chan chan *block // in the order of the stream
	failed    atomic.Pointer[error]
	done      chan struct{}
}

// block is a part of the stream, and what it is compressed to.
type block struct {
	plain      []byte
	compressed bytes.Buffer
}

var (
	freeBlocks = sync.Pool{New: func() any { return &block{plain: make([]byte, 0, blockSize)} }}
	deflaters  [flate.BestCompression + 1]sync.Pool
)

// gzipHeader names neither file nor time: the same content is the same layer.
var gzipHeader = []byte{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255}

func newGzip(w io.Writer, level int) *gzipStream {
	g := &gzipStream{level: level, queue: make(chan chan *block, min(runtime.GOMAXPROCS(0), mostBlocks)), done: make(chan struct{})}
	go g.emit(w)
	return g
}

// emit writes the blocks as they become ready; after an error it only takes them.
func (g *gzipStream) emit(w io.Writer) {
	defer close(g.done)
	_, err := w.Write(gzipHeader)
	for ready := range g.queue {
		b := <-ready
		if err == nil {
			_, err = w.Write(b.compressed.Bytes())
		}
		if err != nil {
			g.failed.Store(&err)
		}
		freeBlocks.Put(b)
	}
}

func (g *gzipStream) failure() error {
	if err := g.failed.Load(); err != nil {
		return *err
	}
	return nil
}

func (g *gzipStream) Write(p []byte) (int, error) {
	g.sum = crc32.Update(g.sum, crc32.IEEETable, p)
	g.size += uint32(len(p))
	for rest := p; len(rest) > 0; {
		if g.next == nil {
			g.next = freeBlocks.Get().(*block)
			g.next.plain = g.next.plain[:0]
		}
		n := min(len(rest), blockSize-len(g.next.plain))
		g.next.plain = append(g.next.plain, rest[:n]...)
		rest = rest[n:]
		if len(g.next.plain) == blockSize {
			g.dispatch()
		}
	}
	return len(p), g.failure()
}

// dispatch has the next block compressed.
func (g *gzipStream) dispatch() {
	ready, b := make(chan *block, 1), g.next
	g.next = nil
	g.queue <- ready
	go func() {
		b.deflate(g.level)
		ready <- b
	}()
}

func (b *block) deflate(level int) {
	fw, ok := deflaters[level].Get().(*flate.Writer)
	if !ok {
		fw, _ = flate.NewWriter(nil, level) // which refuses unknown levels only
	}
	b.compressed.Reset()
	fw.Reset(&b.compressed)
	fw.Write(b.plain) // to memory: it cannot fail
	fw.Flush()
	deflaters[level].Put(fw)
}

// Close writes what is left and the end of the stream, and lets go of everything.
func (g *gzipStream) Close() error {
	if g.next != nil {
		g.dispatch()
	}
	end := &block{plain: make([]byte, 0, blockSize)}
	end.compressed.Write([]byte{3, 0}) // an empty last block (RFC 1951)
	binary.Write(&end.compressed, binary.LittleEndian, []uint32{g.sum, g.size})
	last := make(chan *block, 1)
	last <- end
	g.queue <- last
	close(g.queue)
	<-g.done
	return g.failure()
}
