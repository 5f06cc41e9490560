// Demo shows the whole loop on one machine: an image is built and pushed to a registry that answers as Harbor does,
// the manifests of a git repository are bumped to it, and the commit is pushed. It needs Go and git.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// The names in the example manifests, and the login that the demonstration's registry knows.
const (
	harbor  = "harbor.internal.example.com"
	project = "sandbox"
	image   = project + "/rss"
	version = "1.5.0"
	robot   = "robot$sandbox+ci"
	secret  = "demonstration"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		stop()
		os.Exit(1)
	}
}

// run plays the demonstration in a temporary folder, which it removes.
func run(ctx context.Context) error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "imgbump-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &stage{ctx: ctx, root: root, dir: dir}
	start := time.Now()
	if err := s.compile(); err != nil {
		return err
	}
	fmt.Printf("compiled harborpush, imgbump and a small program in %s\n", seconds(time.Since(start)))
	start = time.Now()
	if err := s.play(); err != nil {
		return err
	}
	fmt.Printf("\nall of it, without compiling: %s\n", seconds(time.Since(start)))
	return nil
}

// play starts the servers, and then does what a deployment does.
func (s *stage) play() error {
	registry, err := registrytest.New(registrytest.Config{
		Projects: []string{project}, TLS: true, Names: []string{harbor},
		Robots: []registrytest.Robot{{Name: robot, Secret: secret, Project: project, Push: true}},
	})
	if err != nil {
		return err
	}
	defer registry.Close()
	git, err := gittest.Start(gittest.Options{Password: secret})
	if err != nil {
		return err
	}
	defer git.Close()
	host := harbor + registry.Host[strings.LastIndexByte(registry.Host, ':'):]
	repository, err := s.seed(git, host)
	if err != nil {
		return err
	}
	authority := filepath.Join(s.dir, "harbor-ca.pem")
	if err := os.WriteFile(authority, registry.CA, 0o600); err != nil {
		return err
	}
	fmt.Printf("started a registry as %s (TLS, its own CA, a robot account) and git at %s\n", host, repository.URL)
	ref := host + "/" + image + ":" + version

	s.env = []string{"HARBOR_USERNAME=" + robot, "HARBOR_PASSWORD=" + secret, "IMGBUMP_TOKEN=" + secret}
	pushed, err := s.step("Build the image and push it", "harborpush", "build", "app", "-t", ref, "--push",
		"--ca-file", "harbor-ca.pem", "--resolve", harbor+":127.0.0.1")
	if err != nil {
		return err
	}
	pinned := strings.TrimSpace(pushed)
	if _, err := s.step("Bump the manifests to that digest, commit and push", "imgbump", "set", pinned, "--root", "checkout", "--push"); err != nil {
		return err
	}
	if err := s.show("What the remote's branch holds now", repository.Dir, "log", "-1", "--stat", "main"); err != nil {
		return err
	}
	if err := s.show("The change, byte for byte", repository.Dir, "show", "--format=", "main"); err != nil {
		return err
	}
	_, err = s.step("Once more: nothing to do, no empty commit", "imgbump", "set", pinned, "--root", "checkout", "--push")
	return err
}

// seed serves a repository with the example manifests, whose registry is at host, and clones it.
func (s *stage) seed(git *gittest.Server, host string) (*gittest.Repository, error) {
	manifests := filepath.Join(s.dir, "manifests")
	if err := os.CopyFS(manifests, os.DirFS(filepath.Join(s.root, "manifests"))); err != nil {
		return nil, err
	}
	if err := replaceIn(manifests, harbor+"/", host+"/"); err != nil {
		return nil, err
	}
	repository, err := git.Create("home/gitops.git")
	if err != nil {
		return nil, err
	}
	if _, err := repository.Commit("main", "The manifests as they are", os.DirFS(manifests)); err != nil {
		return nil, err
	}
	checkout := filepath.Join(s.dir, "checkout")
	if _, err := gittest.Git(s.dir, "clone", "--quiet", "--depth", "1", "file://"+repository.Dir, checkout); err != nil {
		return nil, err
	}
	_, err = gittest.Git(checkout, "remote", "set-url", "origin", repository.URL)
	return repository, err
}
