#!/bin/sh
# Records what BuildKit makes of the cases in this folder. Needs root, runc and a file system that overlayfs takes.
#
#   sh internal/dockerfile/testdata/oracle/record.sh [--check] [PATTERN]
#
# With --check nothing is written: a case that BuildKit now builds in another way is a failure.
set -eu
cd "$(dirname "$0")/../../../.."

record=-update
[ "${1:-}" != --check ] || { record= && shift; }
command -v runc >/dev/null || { echo "record.sh needs runc on PATH" >&2 && exit 1; }

if [ ! -x "${IMGBUMP_BUILDKIT:-.tools/buildkit}/buildkitd" ]; then
	# BuildKit's go.mod excludes modules, which go install refuses; so its source is built where it can be written.
	source=$(go list -m -f '{{.Dir}}' github.com/moby/buildkit)
	scratch=$(mktemp -d)
	trap 'rm -rf "$scratch"' EXIT
	cp -r "$source/." "$scratch"
	chmod -R u+w "$scratch"
	mkdir -p .tools/buildkit
	bin=$PWD/.tools/buildkit
	(cd "$scratch" && CGO_ENABLED=0 go build -mod=mod -o "$bin/" ./cmd/buildkitd ./cmd/buildctl)
fi
IMGBUMP_BUILDKIT=${IMGBUMP_BUILDKIT:-$PWD/.tools/buildkit} \
	go test -count=1 -timeout 30m ./internal/dockerfile -run "TestOracle/${1:-}" $record
