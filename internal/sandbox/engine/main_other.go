//go:build !linux

package engine

import (
	"fmt"
	"os"
)

// Main says that there is no privileged side here.
func Main([]string) int {
	fmt.Fprintln(os.Stderr, "RUN needs Linux")
	return 1
}
