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

buildkit=${IMGBUMP_BUILDKIT:-$(sh hack/buildkit.sh)}
IMGBUMP_BUILDKIT=$buildkit \
	go test -count=1 -timeout 30m ./internal/dockerfile -run "TestOracle/${1:-}" $record
