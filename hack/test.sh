#!/bin/sh
# Runs everything that must pass before a change goes in. Needs Go and git; the tools come by hack/tools.sh.
#
#   sh hack/test.sh [lint] [unit] [build]     all three by default
#
# What this machine cannot run is left out and named; with CI=true, as on a CI server, it is a failure.
set -u
cd "$(dirname "$0")/.." || exit 1
[ $# -gt 0 ] || set -- lint unit build

failed=
step() { # NAME COMMAND...
	name=$1
	shift
	start=$(date +%s)
	if "$@"; then
		printf 'ok    %-12s %4d s\n' "$name" $(($(date +%s) - start))
	else
		printf 'FAIL  %-12s %4d s\n' "$name" $(($(date +%s) - start))
		failed="$failed $name"
	fi
}

absent() { # NAME WHY
	printf 'skip  %-12s %s\n' "$1" "$2"
	[ "${CI:-}" != true ] || failed="$failed $1"
}

formatted() {
	unformatted=$(gofmt -l .) || return
	[ -z "$unformatted" ] || { printf 'gofmt -w would change:\n%s\n' "$unformatted" && return 1; }
}

lint() {
	step gofmt formatted
	step vet go vet ./...
	step staticcheck staticcheck ./...
	step actionlint actionlint
	if command -v shellcheck >/dev/null; then
		step shellcheck shellcheck hack/*.sh action/*.sh bench/*.sh .ci/run
	else
		absent shellcheck "is not installed"
	fi
}

unit() {
	if command -v "$(go env CC)" >/dev/null; then
		step "go test" go test -race -shuffle=on -timeout 20m ./...
	else
		absent race "the race detector needs a C compiler"
		step "go test" go test -shuffle=on -timeout 20m ./...
	fi
}

# The tests have built for this machine; of the others the architecture counts on linux alone.
build() {
	arch=arm64
	[ "$(go env GOHOSTARCH)" != arm64 ] || arch=amd64
	for os in linux darwin; do
		step $os/$arch env CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build ./cmd/...
	done
}

for tool in go git; do
	command -v $tool >/dev/null || { echo "hack/test.sh needs $tool on PATH" >&2 && exit 1; }
done
export GORACE=atexit_sleep_ms=10 # a program with the race detector sleeps a second when it ends
bin=$(sh hack/tools.sh) || exit 1
PATH=$bin:$PATH
[ "${CI:-}" != true ] || sh hack/buildkit.sh >/dev/null || exit 1
[ "${CI:-}" != true ] || sh hack/crds.sh >/dev/null || exit 1
for part; do
	case $part in
	lint | unit | build) $part ;;
	*) echo "hack/test.sh: $part is none of lint, unit, build" >&2 && exit 2 ;;
	esac
done
[ -z "$failed" ] || { echo "failed:$failed" && exit 1; }
echo "all passed"
