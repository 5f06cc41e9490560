//go:build !amd64

package main

import "syscall"

func compat(number, _, _, _, _ uintptr) syscall.Errno {
	if number == 20 {
		return 0
	}
	return syscall.EPERM
}
