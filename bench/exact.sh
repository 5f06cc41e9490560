#!/bin/sh
# Tries imgbump on real GitOps repositories: sets every image that it lists to one made-up version, in a clone, and says
# what changed. Each added line must hold that version, and doing it again must change nothing.
#
#   sh bench/exact.sh REPOSITORY...     folders or addresses that git clones
set -eu
cd "$(dirname "$0")/.."
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
go build -o "$scratch/imgbump" ./cmd/imgbump
version=v999.999.999
failed=0
printf '%-40s %6s %8s %8s %8s %8s\n' repository sites changed skipped failures foreign
for repository; do
	clone=$scratch/clone
	rm -rf "$clone"
	case $repository in *://*) depth=--depth=1 ;; *) depth=--local ;; esac
	git clone --quiet $depth "$repository" "$clone"
	cd "$clone"
	"$scratch/imgbump" list --format json >../list.json 2>/dev/null || true
	count() { grep -c "^      \"$1\":" "$2" || true; }
	images=$(sed -n 's/^      "reference": "\([^"@]*\).*/\1/p' ../list.json | sed 's|:[^:/]*$||' | sort -u | sed "s/\$/:$version/")
	code=0
	# shellcheck disable=SC2086
	"$scratch/imgbump" set $images --ignore-hold --format json >../set.json 2>/dev/null || code=$?
	foreign=$(git diff -U0 | grep '^+[^+]' | grep -vc "$version" || true)
	failures=$(sed -n '/^  "failures": \[$/,/^  \]/p' ../set.json | grep -c '"error"' || true)
	printf '%-40s %6s %8s %8s %8s %8s\n' "$(printf %s "$repository" | tail -c 40)" "$(count reference ../list.json)" \
		"$(count to ../set.json)" "$(sed -n '/^  "skipped": \[$/,/^  \]/p' ../set.json | grep -c '"reason": "set by' || true)" "$failures" "$foreign"
	git add --all
	# shellcheck disable=SC2086
	"$scratch/imgbump" set $images --ignore-hold >/dev/null 2>&1 || true
	git diff --quiet || { echo "  a second run changes something" && failed=1; }
	[ "$code$foreign" = 00 ] || failed=1
	cd - >/dev/null
done
exit $failed
