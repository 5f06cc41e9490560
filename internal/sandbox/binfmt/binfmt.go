// Package binfmt tells whether this machine's kernel runs programs of another architecture, so that a build need not fail
// in the middle: it has the kernel run one.
package binfmt

import (
	"bytes"
	"context"
	"debug/elf"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// registered is where Linux shows the interpreters of foreign programs, if that is mounted (binfmt-misc.rst).
const registered = "/proc/sys/fs/binfmt_misc"

var (
	// ErrNone is the cause when the kernel does not run the architecture's programs.
	ErrNone = errors.New("this machine does not run its programs")
	// ErrOutside is the cause when they run, but their interpreter is looked for in the root filesystem of each process.
	ErrOutside = errors.New("its programs run, but not in a root filesystem of their own: the interpreter was registered without the flag F")
)

var (
	mu    sync.Mutex
	known = map[string]error{}
)

// Check is ErrNone or ErrOutside, nil for an architecture, as GOARCH calls it, whose programs can be run in a root filesystem
// of their own, and for one about which nothing can be said.
func Check(ctx context.Context, arch string) error {
	mu.Lock()
	defer mu.Unlock()
	if err, ok := known[arch]; ok {
		return err
	}
	m, ok := machines[arch]
	if !ok || runtime.GOOS != "linux" {
		return nil
	}
	err := try(ctx, m.program())
	if err == nil && withoutFix(registered, m.program()) {
		err = ErrOutside
	}
	if ctx.Err() == nil {
		known[arch] = err
	}
	return err
}

// try runs a program. It is ErrNone when the kernel does not know what to do with it.
func try(ctx context.Context, program []byte) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	dir, err := os.MkdirTemp("", "harborpush-*")
	if err != nil {
		return nil // which tells nothing about the kernel
	}
	defer os.RemoveAll(dir)
	name := filepath.Join(dir, "exit")
	if os.WriteFile(name, program, 0o700) != nil {
		return nil
	}
	// Another goroutine that just forks may hold the file open for writing, for an instant.
	for err = exec.CommandContext(ctx, name).Run(); errors.Is(err, syscall.ETXTBSY) && ctx.Err() == nil; {
		err = exec.CommandContext(ctx, name).Run()
	}
	if errors.Is(err, syscall.ENOEXEC) {
		return ErrNone
	}
	return nil
}

// withoutFix reports whether an interpreter is registered for a program, and not kept open by the kernel.
func withoutFix(folder string, program []byte) bool {
	files, _ := os.ReadDir(folder)
	for _, f := range files {
		data, err := os.ReadFile(filepath.Join(folder, f.Name()))
		if err != nil || !bytes.HasPrefix(data, []byte("enabled")) {
			continue
		}
		if e := parse(string(data)); e.matches(program) {
			return !strings.Contains(e.flags, "F")
		}
	}
	return false
}

// entry is an interpreter: of programs that are magic at offset where mask has bits.
type entry struct {
	flags       string
	offset      int
	magic, mask []byte
}

func parse(text string) (e entry) {
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch key {
		case "flags:":
			e.flags = value
		case "offset":
			e.offset, _ = strconv.Atoi(value)
		case "magic":
			e.magic, _ = hex.DecodeString(value)
		case "mask":
			e.mask, _ = hex.DecodeString(value)
		}
	}
	return e
}

func (e entry) matches(program []byte) bool {
	if len(e.magic) == 0 || e.offset < 0 || e.offset+len(e.magic) > len(program) {
		return false
	}
	for i, b := range e.magic {
		bits := byte(0xff)
		if i < len(e.mask) {
			bits = e.mask[i]
		}
		if program[e.offset+i]&bits != b&bits {
			return false
		}
	}
	return true
}

// machine is what a program of an architecture has in its header, and the code that ends it with 0.
type machine struct {
	class elf.Class
	order binary.ByteOrder
	of    elf.Machine
	flags uint32
	exit  string // in hexadecimal
}

var machines = map[string]machine{
	"386":     {elf.ELFCLASS32, binary.LittleEndian, elf.EM_386, 0, "b801000000 31db cd80"},
	"amd64":   {elf.ELFCLASS64, binary.LittleEndian, elf.EM_X86_64, 0, "b83c000000 31ff 0f05"},
	"arm":     {elf.ELFCLASS32, binary.LittleEndian, elf.EM_ARM, 0x05000000, "0000a0e3 0170a0e3 000000ef"},
	"arm64":   {elf.ELFCLASS64, binary.LittleEndian, elf.EM_AARCH64, 0, "000080d2 a80b80d2 010000d4"},
	"loong64": {elf.ELFCLASS64, binary.LittleEndian, elf.EM_LOONGARCH, 0x43, "0400c002 0b748103 00002b00"},
	"ppc64le": {elf.ELFCLASS64, binary.LittleEndian, elf.EM_PPC64, 2, "01000038 00006038 02000044"},
	"riscv64": {elf.ELFCLASS64, binary.LittleEndian, elf.EM_RISCV, 5, "13050000 9308d005 73000000"},
	"s390x":   {elf.ELFCLASS64, binary.BigEndian, elf.EM_S390, 0, "a7290000 0a01"},
}

// program is an executable that does nothing but end: a header, one segment, and the code.
func (m machine) program() []byte {
	code, err := hex.DecodeString(strings.ReplaceAll(m.exit, " ", ""))
	if err != nil {
		panic(fmt.Sprintf("the program for %s: %v", m.of, err))
	}
	data := byte(elf.ELFDATA2LSB)
	if m.order == binary.BigEndian {
		data = byte(elf.ELFDATA2MSB)
	}
	ident := [elf.EI_NIDENT]byte{0x7f, 'E', 'L', 'F', byte(m.class), data, byte(elf.EV_CURRENT)}
	const base = 0x400000
	var out bytes.Buffer
	write := func(v any) { _ = binary.Write(&out, m.order, v) } // to memory
	if m.class == elf.ELFCLASS32 {
		head, segment := binary.Size(elf.Header32{}), binary.Size(elf.Prog32{})
		size := uint32(head + segment + len(code))
		write(elf.Header32{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(m.of), Version: uint32(elf.EV_CURRENT), Entry: base + size - uint32(len(code)),
			Phoff: uint32(head), Flags: m.flags, Ehsize: uint16(head), Phentsize: uint16(segment), Phnum: 1})
		write(elf.Prog32{Type: uint32(elf.PT_LOAD), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Flags: uint32(elf.PF_R | elf.PF_X), Align: 0x10000})
	} else {
		head, segment := binary.Size(elf.Header64{}), binary.Size(elf.Prog64{})
		size := uint64(head + segment + len(code))
		write(elf.Header64{Ident: ident, Type: uint16(elf.ET_EXEC), Machine: uint16(m.of), Version: uint32(elf.EV_CURRENT), Entry: base + size - uint64(len(code)),
			Phoff: uint64(head), Flags: m.flags, Ehsize: uint16(head), Phentsize: uint16(segment), Phnum: 1})
		write(elf.Prog64{Type: uint32(elf.PT_LOAD), Vaddr: base, Paddr: base, Filesz: size, Memsz: size, Flags: uint32(elf.PF_R | elf.PF_X), Align: 0x10000})
	}
	return append(out.Bytes(), code...)
}
