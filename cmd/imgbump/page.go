package main

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/ksera524/imgbump/internal/imageref"
	"github.com/ksera524/imgbump/internal/registry/harbor"
)

// pagePatience is how long a registry may take to say where the page of an image is: it only makes a link.
const pagePatience = 5 * time.Second

// pages finds the web pages of images. Harbor is asked when the run asks registries anyway.
type pages struct {
	asked  *registryFlags
	silent map[string]bool // registries that did not say
}

// of is the address of the image's page, or "".
func (p *pages) of(ctx context.Context, ref imageref.Ref) string {
	_, path, _ := strings.Cut(ref.Canonical(), "/")
	switch ref.Host() {
	case "docker.io":
		return "https://hub.docker.com/r/" + path
	case "ghcr.io":
		return "https://ghcr.io/" + path
	case "quay.io":
		return "https://quay.io/repository/" + path
	}
	if p.asked.client == nil || p.silent[ref.Host()] {
		return ""
	}
	ctx, cancel := context.WithTimeout(ctx, pagePatience)
	defer cancel()
	client := harbor.New(p.asked.client, ref.Host())
	artifact, err := client.Artifact(ctx, path, cmp.Or(ref.Digest, ref.Tag))
	if err == nil {
		var page string
		if page, err = client.Page(ctx, artifact); err == nil {
			return page
		}
	}
	p.silent[ref.Host()] = true
	return ""
}
