package main

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/gittest"
	"github.com/ksera524/imgbump/internal/registrytest"
)

// What Argo CD Image Updater takes for the same: 60 applications of one repository, an image with a newer tag each,
// `run --once` less its start. It makes a commit and a push of each application.
const (
	fleetSize   = 60
	updater     = 9 * time.Second
	updaterFar  = 42 * time.Second // with 100 ms added to every git request
	far         = 100 * time.Millisecond
	fleetRounds = 5
)

// fleetRun is what one update of all applications came to.
type fleetRun struct {
	took                          time.Duration
	commits, git, lists, registry int
}

// fleet updates all applications at once, with the git server beside the registry and far from it.
func (b *bench) fleet() error {
	for _, place := range []struct {
		name    string
		delay   time.Duration
		updater time.Duration
		wanted  float64
	}{
		{"60 applications", 0, updater, 8},
		{"the same, git 100 ms away", far, updaterFar, 20},
	} {
		runs := make([]fleetRun, fleetRounds)
		for i := range runs {
			var err error
			if runs[i], err = b.fleetOnce(place.delay); err != nil {
				return err
			}
		}
		slices.SortFunc(runs, func(a, b fleetRun) int { return int(a.took - b.took) })
		is, most := runs[len(runs)/2], worst(runs)
		ratio := place.updater.Seconds() / is.took.Seconds()
		row(place.name+": Image Updater takes so many times as long", fmt.Sprintf("%.1fx", ratio), fmt.Sprintf(">= %.0fx", place.wanted), ratio >= place.wanted)
		row("  time, of a process (median)", fmt.Sprintf("%.2f s", is.took.Seconds()), fmt.Sprintf("< %.2f s", place.updater.Seconds()/place.wanted), ratio >= place.wanted)
		row("  commits (Image Updater: 60)", fmt.Sprint(most.commits), "= 1", most.commits == 1)
		row("  git requests (Image Updater: 300)", fmt.Sprint(most.git), "<= 8", most.git <= 8)
		row("  lists of tags asked for (Image Updater: 120)", fmt.Sprint(most.lists), "<= 60", most.lists <= fleetSize)
		row("  requests to the registry (Image Updater: 240)", fmt.Sprint(most.registry), "<= 61", most.registry <= fleetSize+1)
	}
	return nil
}

// worst is the most that any of the runs needed.
func worst(runs []fleetRun) (most fleetRun) {
	for _, r := range runs {
		most.commits, most.git = max(most.commits, r.commits), max(most.git, r.git)
		most.lists, most.registry = max(most.lists, r.lists), max(most.registry, r.registry)
	}
	return most
}

// fleetOnce makes the servers and the repository anew, and runs the update as a person would, without a checkout.
func (b *bench) fleetOnce(delay time.Duration) (run fleetRun, err error) {
	images, err := registrytest.New(registrytest.Config{})
	if err != nil {
		return run, err
	}
	defer images.Close()
	server, err := gittest.Start(gittest.Options{})
	if err != nil {
		return run, err
	}
	defer func() { err = errors.Join(err, server.Close()) }()
	repository, err := server.Create("team/gitops.git")
	if err != nil {
		return run, err
	}
	tree, err := b.fleetTree(images.Host)
	if err != nil {
		return run, err
	}
	if err := fill(images); err != nil {
		return run, err
	}
	if _, err := repository.Commit("main", "start", os.DirFS(tree)); err != nil {
		return run, err
	}
	url, stop, err := late(server, delay)
	if err != nil {
		return run, err
	}
	defer stop()
	images.Forget()
	if run.took, err = b.update("--repo", url+"/team/gitops.git", "--branch", "main"); err != nil {
		return run, err
	}
	out, err := gittest.Git(repository.Dir, "rev-list", "--count", "main")
	if err != nil {
		return run, err
	}
	if _, err := fmt.Sscan(out, &run.commits); err != nil {
		return run, err
	}
	run.commits-- // the start
	run.git, run.lists, run.registry = len(server.Requests()), images.Count("GET", "/tags/list"), len(images.Requests())
	return run, updated(repository)
}

// updated is an error unless every application has the newer tag.
func updated(repository *gittest.Repository) error {
	for i := range fleetSize {
		file, err := repository.File("main", fmt.Sprintf("apps/app-%02d/kustomization.yaml", i))
		if err != nil || !strings.Contains(file, "newTag: 1.1.0") {
			return fmt.Errorf("app-%02d was not updated: %q, %v", i, file, err)
		}
	}
	return nil
}

// late is the address of the git server when every request takes so much longer.
func late(server http.Handler, delay time.Duration) (url string, stop func() error, err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	front := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		time.Sleep(delay)
		server.ServeHTTP(w, r)
	})}
	go front.Serve(listener)
	return "http://" + listener.Addr().String(), front.Close, nil
}

// fill gives every application's image two tags.
func fill(images *registrytest.Server) error {
	const blob, image = "application/octet-stream", "application/vnd.oci.image.manifest.v1+json"
	for i := range fleetSize {
		repository := fmt.Sprintf("%s/v2/team/app-%02d", images.URL, i)
		place, err := upload("POST", repository+"/blobs/uploads/", blob, nil)
		if err != nil {
			return err
		}
		if _, err := upload("PUT", fmt.Sprintf("%s&digest=sha256:%x", place, sha256.Sum256(config)), blob, config); err != nil {
			return err
		}
		for _, tag := range []string{"1.0.0", "1.1.0"} {
			raw, _ := manifest(tag)
			if _, err := upload("PUT", repository+"/manifests/"+tag, image, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// upload is where the registry wants the upload to go on.
func upload(method, url, contentType string, body []byte) (string, error) {
	q, err := http.NewRequest(method, url, bytes.NewReader(body))
	if err != nil {
		return "", err
	}
	q.Header.Set("Content-Type", contentType)
	answer, err := http.DefaultClient.Do(q)
	if err != nil {
		return "", err
	}
	said, _ := io.ReadAll(answer.Body)
	answer.Body.Close()
	if answer.StatusCode >= 300 {
		return "", fmt.Errorf("%s %s: %s: %s", method, url, answer.Status, said)
	}
	return answer.Header.Get("Location"), nil
}

// fleetTree is a repository of Argo CD: an Application for each application, and its kustomization, whose tag follows a
// policy.
func (b *bench) fleetTree(host string) (string, error) {
	dir, err := os.MkdirTemp(b.dir, "fleet-")
	if err != nil {
		return "", err
	}
	for i := range fleetSize {
		for name, text := range map[string]string{
			"applications/app-%02d.yaml":       fleetApplication,
			"apps/app-%02d/kustomization.yaml": strings.ReplaceAll(fleetKustomization, "HOST", host),
			"apps/app-%02d/deployment.yaml":    fleetDeployment,
			"apps/app-%02d/service.yaml":       fleetService,
		} {
			file := filepath.Join(dir, fmt.Sprintf(name, i))
			if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
				return "", err
			}
			if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "NAME", fmt.Sprintf("app-%02d", i))), 0o644); err != nil {
				return "", err
			}
		}
	}
	return dir, nil
}

const (
	fleetApplication = `apiVersion: argoproj.io/v1alpha1
kind: Application
metadata:
  name: NAME
  namespace: argocd
spec:
  project: default
  source: {repoURL: https://git.example.com/team/gitops.git, targetRevision: main, path: apps/NAME}
  destination: {server: https://kubernetes.default.svc, namespace: NAME}
  syncPolicy: {automated: {prune: true, selfHeal: true}}
`
	fleetKustomization = `resources: [deployment.yaml, service.yaml]
images:
  - name: NAME
    newName: HOST/team/NAME
    newTag: 1.0.0 # imgbump: semver 1.x
`
	fleetDeployment = `apiVersion: apps/v1
kind: Deployment
metadata:
  name: NAME
spec:
  template:
    spec:
      containers:
        - name: app
          image: NAME
`
	fleetService = `apiVersion: v1
kind: Service
metadata:
  name: NAME
spec:
  ports: [{port: 80}]
`
)
