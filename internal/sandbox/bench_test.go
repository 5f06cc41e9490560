//go:build linux

package sandbox_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/ksera524/imgbump/internal/sandbox"
)

// BenchmarkSteps runs ten steps, each on the layer of the one before; the start and the base layer count.
func BenchmarkSteps(b *testing.B) {
	base, err := busybox()
	if err != nil {
		b.Skip(err)
	}
	for _, isolation := range []string{sandbox.UserNamespace, sandbox.Chroot} {
		b.Run(isolation, func(b *testing.B) {
			for b.Loop() {
				s := sandbox.New(sandbox.Options{Isolation: isolation, Folder: b.TempDir()})
				if err := s.Unpack(b.Context(), "0", bytes.NewReader(base)); err != nil {
					b.Fatal(err)
				}
				below := []string{"0"}
				for i := 1; i <= 10; i++ {
					p := shell("echo > /file" + fmt.Sprint(i))
					p.Below, p.Layer = below, fmt.Sprint(i)
					if err := s.Run(b.Context(), p); err != nil {
						b.Fatal(err)
					}
					if _, err := s.Headers(b.Context(), p.Layer); err != nil {
						b.Fatal(err)
					}
					below = append(below, p.Layer)
				}
				if err := s.Close(); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
