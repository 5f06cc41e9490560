package binfmt

import (
	"github.com/ksera524/imgbump/internal/without"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// qemu is what Debian's package qemu-user-static calls the emulators.
var qemu = map[string]string{"386": "i386", "amd64": "x86_64", "arm": "arm", "arm64": "aarch64", "loong64": "loongarch64",
	"ppc64le": "ppc64le", "riscv64": "riscv64", "s390x": "s390x"}

func TestPrograms(t *testing.T) {
	for arch, m := range machines {
		t.Run(arch, func(t *testing.T) {
			emulator := without.Program(t, "qemu-"+qemu[arch]+"-static", "apt install qemu-user-static")
			name := filepath.Join(t.TempDir(), "exit")
			if err := os.WriteFile(name, m.program(), 0o700); err != nil {
				t.Fatal(err)
			}
			if out, err := exec.Command(emulator, name).CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	if err := Check(t.Context(), runtime.GOARCH); err != nil {
		t.Errorf("%s: %v", runtime.GOARCH, err)
	}
	if err := Check(t.Context(), "pdp11"); err != nil {
		t.Errorf("of what is unknown nothing is said, but %v", err)
	}
	if err := try(t.Context(), []byte("no program")); err != ErrNone {
		t.Errorf("what nobody runs: %v", err)
	}
}

// Entries as the kernel shows them, with what Debian and tonistiigi/binfmt register for arm64.
func TestWithoutFix(t *testing.T) {
	const arm64 = "offset 0\nmagic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	for name, c := range map[string]struct {
		entry string
		want  bool
	}{
		"fixed":    {"enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: OCF\n" + arm64, false},
		"open":     {"enabled\ninterpreter /usr/bin/qemu-aarch64\nflags: OC\n" + arm64, true},
		"disabled": {"disabled\ninterpreter /usr/bin/qemu-aarch64\nflags: OC\n" + arm64, false},
		"other":    {"enabled\ninterpreter /usr/bin/java\nflags: \nextension .jar\n", false},
		"broken":   {"enabled\nflags:\noffset -7\nmagic zz\n", false},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "qemu-aarch64"), []byte(c.entry), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := withoutFix(dir, machines["arm64"].program()); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}
