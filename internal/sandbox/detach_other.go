//go:build !linux

package sandbox

import (
	"errors"
	"os"
	"os/exec"
)

func detach(*exec.Cmd) {}

func closeUp() error { return nil }

func socketFolder() (string, *os.File, error) { return "", nil, errors.ErrUnsupported }
