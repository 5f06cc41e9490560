package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
)

// bench is what the measurements share.
type bench struct {
	ctx     context.Context
	dir     string
	imgbump string
	rounds  int
}

// command is a command line to measure, in the folder dir. Args are those of a round, so that each writes another version.
type command struct {
	dir    string
	args   func(round int) []string
	before func() error // what comes before a round and is not measured
}

// shell is a command line that a person would type.
func shell(dir, line string, values ...func(round int) any) command {
	return command{dir: dir, args: func(round int) []string {
		var filled []any
		for _, value := range values {
			filled = append(filled, value(round))
		}
		return []string{"sh", "-ec", fmt.Sprintf(line, filled...)}
	}}
}

// cost is what a command took: the median of its rounds, and the most memory in bytes that one of them held.
type cost struct {
	time   time.Duration
	memory int64
}

// measure runs the commands in turn, round after round. Everything is on the disk before each, so that none pays for
// what another one wrote.
func (b *bench) measure(commands ...command) ([]cost, error) {
	times := make([][]time.Duration, len(commands))
	costs := make([]cost, len(commands))
	for round := range b.rounds {
		for i, c := range commands {
			if c.before != nil {
				if err := c.before(); err != nil {
					return nil, err
				}
			}
			syscall.Sync()
			took, memory, err := b.once(c, round)
			if err != nil {
				return nil, err
			}
			times[i] = append(times[i], took)
			costs[i].memory = max(costs[i].memory, memory)
		}
	}
	for i := range costs {
		slices.Sort(times[i])
		costs[i].time = times[i][len(times[i])/2]
	}
	return costs, nil
}

func (b *bench) once(c command, round int) (time.Duration, int64, error) {
	args := c.args(round)
	var output bytes.Buffer
	cmd := exec.CommandContext(b.ctx, args[0], args[1:]...)
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = c.dir, gittest.Env(), &output, &output
	start := time.Now()
	err := cmd.Run()
	took := time.Since(start)
	if err != nil {
		text := output.Bytes()
		return 0, 0, fmt.Errorf("%s: %w: %s", strings.Join(args[:min(len(args), 4)], " "), err, text[:min(len(text), 500)])
	}
	return took, cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10, nil
}

const format = "%-46s %9s %10s  %-29s %7s  %-8s %s\n"

// target is what a ratio should be: how many times as long as the other one we may take, or how many times as fast we
// should at least be. Zero asks for nothing.
type target struct{ atMost, atLeast float64 }

// row prints what imgbump and something else took.
func row(what string, ours time.Duration, than string, theirs time.Duration, wanted target) {
	ratio, text, met := float64(theirs)/float64(ours), "", true
	switch {
	case wanted.atMost > 0:
		ratio = 1 / ratio
		text, met = fmt.Sprintf("<= %gx", wanted.atMost), ratio <= wanted.atMost
	case wanted.atLeast > 0:
		text, met = fmt.Sprintf(">= %gx", wanted.atLeast), ratio >= wanted.atLeast
	}
	fmt.Printf(format, what, seconds(ours), seconds(theirs), than, fmt.Sprintf("%.1fx", ratio), text, verdict(text, met))
}

func verdict(wanted string, met bool) string {
	switch {
	case wanted == "":
		return ""
	case met:
		return "met"
	}
	return "MISSED"
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f s", d.Seconds()) }
