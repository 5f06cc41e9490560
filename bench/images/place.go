package main

import (
	"archive/tar"
	"bufio"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
)

var listening = regexp.MustCompile(`listening on (127\.0\.0\.1:\d+)`)

// registry starts the distribution project's registry with its storage in a folder.
func (b *bench) registry() (end func(), err error) {
	binary, err := exec.LookPath("docker-registry")
	if err != nil {
		return nil, fmt.Errorf("%w: apt install docker-registry", err)
	}
	config := filepath.Join(b.dir, "registry.yml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: info, accesslog: {disabled: true}}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: 127.0.0.1:0}\n",
		filepath.Join(b.dir, "registry"))
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(b.ctx, binary, "serve", config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	host := make(chan string, 1)
	go func() {
		defer close(host)
		for lines := bufio.NewScanner(stderr); lines.Scan(); {
			if m := listening.FindStringSubmatch(lines.Text()); m != nil {
				host <- m[1]
			}
		}
	}()
	if b.host = <-host; b.host == "" {
		return nil, errors.New("the registry did not start")
	}
	return func() { cmd.Process.Kill(); cmd.Wait() }, nil
}

// save makes an archive as docker save does, of one layer that is not compressed.
func save(archive, layer string) error {
	from, err := os.Open(layer)
	if err != nil {
		return err
	}
	defer from.Close()
	sum := sha256.New()
	size, err := io.Copy(sum, from)
	if err != nil {
		return err
	}
	to, err := os.Create(archive)
	if err != nil {
		return err
	}
	defer to.Close()
	tw := tar.NewWriter(to)
	entry := func(name string, size int64, r io.Reader) {
		if err == nil {
			err = tw.WriteHeader(&tar.Header{Name: name, Size: size, Mode: 0o644})
		}
		if err == nil {
			_, err = io.Copy(tw, r)
		}
	}
	config := fmt.Sprintf(`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["sha256:%x"]}}`, sum.Sum(nil))
	manifest := `[{"Config":"config.json","Layers":["layer.tar"]}]`
	if _, err := from.Seek(0, io.SeekStart); err != nil {
		return err
	}
	entry("layer.tar", size, from)
	entry("config.json", int64(len(config)), strings.NewReader(config))
	entry("manifest.json", int64(len(manifest)), strings.NewReader(manifest))
	return errors.Join(err, tw.Close())
}

// fill makes a folder of so many MiB, in files as an application's are: of many sizes, text for the larger part, and the
// same for each seed.
func fill(dir string, mib, seed int) error {
	source := rand.NewChaCha8([32]byte{byte(seed)})
	random := rand.New(source)
	words := strings.Fields("the image of a cluster is pushed to its registry by one step and no daemon runs there for it func return if err nil string")
	for left, n := int64(mib)<<20, 0; left > 0; n++ {
		size := min(left, int64(1)<<(10+random.IntN(10)))
		left -= size
		data := make([]byte, 0, size+16)
		if random.IntN(10) < 3 {
			data = data[:size]
			source.Read(data)
		}
		for int64(len(data)) < size {
			data = fmt.Appendf(data, "%s %x ", words[random.IntN(len(words))], random.Uint32())
		}
		folder := filepath.Join(dir, fmt.Sprintf("%03d", n/50))
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(folder, fmt.Sprintf("%05d", n)), data[:size], 0o644); err != nil {
			return err
		}
	}
	return nil
}
