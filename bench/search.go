package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// one is the application whose image is set where it is about a single one.
const one = 42

// version is another tag in each round of each measurement; what is set already would not be written.
func version(round int) any { return fmt.Sprintf("2.%d.%d", time.Now().Unix(), round) }

// set is imgbump setting the images of count applications in the tree at dir, every step-th one.
func (b *bench) set(dir string, count, step int, flags ...string) command {
	return command{dir: dir, args: func(round int) []string {
		args := append([]string{b.imgbump, "set", "--quiet"}, flags...)
		tag := version(round)
		for i := range count {
			args = append(args, fmt.Sprintf("%s:%s", repository(one+i*step), tag))
		}
		return args
	}}
}

// search compares one image in 20,000 files with grep, sed and yq.
func (b *bench) search() error {
	tree := filepath.Join(b.dir, "tree")
	if err := makeTree(tree, 20_000); err != nil {
		return err
	}
	name := repository(one)
	costs, err := b.measure(
		b.set(tree, 1, 1, "--dry-run"),
		shell(tree, "grep -rlF "+name+" . >/dev/null"),
		b.set(tree, 1, 1),
		shell(tree, "find . -name '*.yaml' -print0 | xargs -0 sed -i 's|"+name+":[^ ]*|"+name+":%s|'", version),
	)
	if err != nil {
		return err
	}
	dry, grep, write, sed := costs[0], costs[1], costs[2], costs[3]
	row("1 image, 20,000 files: find it (--dry-run)", dry.time, "grep -rlF", grep.time, target{atMost: 1.5})
	row("1 image, 20,000 files: write it, synced", write.time, "find | xargs sed -i", sed.time, target{atLeast: 4})
	return b.yq(tree, write)
}

// yqSample is how many files yq gets; the time for all of them is so many times as long.
const yqSample = 500

// yq runs yq as its users do, on every manifest: in place it takes one file at a time.
func (b *bench) yq(tree string, write cost) error {
	if out, err := exec.CommandContext(b.ctx, "yq", "--version").Output(); err != nil || !strings.Contains(string(out), "mikefarah") {
		fmt.Println("  skipped: yq (mikefarah/yq v4) is not on PATH; README.md says how to install it")
		return nil
	}
	sample := filepath.Join(b.dir, "sample")
	if err := makeTree(sample, yqSample); err != nil {
		return err
	}
	name := repository(one)
	costs, err := b.measure(shell(sample, "find . -name '*.yaml' -print0 | xargs -0 -n 1 yq -i "+
		`'(.. | select(tag == "!!str" and test("^`+name+`:"))) = "`+name+`:%s"'`, version))
	if err != nil {
		return err
	}
	row("1 image, 20,000 files: write it, synced", write.time, "find | xargs -n1 yq -i", costs[0].time*20_000/yqSample, target{atLeast: 50})
	return nil
}

// growth shows what more files and more images cost, and how much memory they take.
func (b *bench) growth() error {
	small, large := filepath.Join(b.dir, "tree"), filepath.Join(b.dir, "large")
	if err := makeTree(large, 100_000); err != nil {
		return err
	}
	const many = 1000
	costs, err := b.measure(
		b.set(small, 1, 1, "--dry-run"), b.set(large, 1, 1, "--dry-run"),
		b.set(small, 1, 1), b.set(large, 1, 1),
		b.set(small, many, 3), b.set(large, many, 15),
	)
	if err != nil {
		return err
	}
	row("1 image, 100,000 files: find it", costs[1].time, "5 x 20,000 files", 5*costs[0].time, target{atMost: 1.2})
	row("1 image, 100,000 files: write it, synced", costs[3].time, "5 x 20,000 files", 5*costs[2].time, target{atMost: 1.2})
	row("1,000 images, 20,000 files: write them, synced", costs[4].time, "1 image", costs[2].time, target{atMost: 3})
	row("1,000 images, 100,000 files: the same", costs[5].time, "1 image", costs[3].time, target{atMost: 3})
	most := int64(0)
	for _, c := range costs {
		most = max(most, c.memory)
	}
	const limit = 120 << 20
	fmt.Printf(format, "memory at most, of all of these", fmt.Sprintf("%d MB", most>>20), "", "", "", "< 120 MB", verdict("<", most < limit))
	return os.RemoveAll(large)
}
