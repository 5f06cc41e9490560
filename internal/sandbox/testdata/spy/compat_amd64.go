package main

import "syscall"

// compat makes a call as programs of 32 bits do.
func compat(number, a, b, c, d uintptr) syscall.Errno {
	if r := int32(interrupt(number, a, b, c, d)); r < 0 {
		return syscall.Errno(-r)
	}
	return 0
}

func interrupt(number, a, b, c, d uintptr) uintptr
