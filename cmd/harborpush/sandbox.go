package main

import (
	"os"

	"github.com/ksera524/imgbump/internal/sandbox/engine"
	"github.com/ksera524/imgbump/internal/sandbox/wire"
)

// asSandbox makes this process what a build starts to run its steps, if it was started as that, and ends it.
func asSandbox() {
	if len(os.Args) > 1 && os.Args[1] == wire.Verb {
		os.Exit(engine.Main(os.Args[2:]))
	}
}
