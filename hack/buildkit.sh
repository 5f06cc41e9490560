#!/bin/sh
# Builds the BuildKit that tests use, in the version of go.mod, into .tools/buildkit and prints that folder. What is there is
# left alone.
set -eu

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
cd "$top"
version=$(go list -m -f '{{.Version}}' github.com/moby/buildkit)
bin=$top/.tools/buildkit
if [ ! -e "$bin/.$version" ]; then
	# BuildKit's go.mod excludes modules, which go install refuses; so its source is built where it can be written.
	go mod download github.com/moby/buildkit
	source=$(go list -m -f '{{.Dir}}' github.com/moby/buildkit)
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	cp -r "$source/." "$scratch"
	chmod -R u+w "$scratch"
	mkdir -p "$bin"
	(cd "$scratch" && CGO_ENABLED=0 go build -mod=mod -o "$bin/" ./cmd/buildkitd ./cmd/buildctl)
	: >"$bin/.$version"
fi
echo "$bin"
