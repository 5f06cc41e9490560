#!/bin/sh
# Decides whether the action runs at all, and with which binaries: sets the output bin to the folder that holds imgbump
# and harborpush, or leaves it empty to stop. Needs nothing but sh, unless it has to build or to download.
set -eu

here=${0%/*}
nl='
'

fail() { # MESSAGE [CODE]
	echo "::error::$1"
	exit "${2:-1}"
}

# Whether a squash merge, as GitHub words it, brought in a commit that is not ours: "* " begins each of them.
mixed() { # MESSAGE
	case ${1%%"$nl"*} in *" (#"[0-9]*")") ;; *) return 1 ;; esac
	rest=$1$nl
	while [ "$rest" != "${rest#*"$nl$nl* "}" ]; do
		rest=${rest#*"$nl$nl* "}
		case ${rest%%"$nl$nl* "*}$nl in *"${nl}Imgbump: v1$nl"*) ;; *) return 0 ;; esac
	done
	return 1
}

# A bump that our own push caused: going on would build and bump without end. Trailers are the last paragraph; further up
# the line is that of a commit which was squashed into this one.
message=$HEAD_MESSAGE$nl
while [ "$message" != "${message%"$nl$nl"}" ]; do message=${message%"$nl"}; done
case $message in *"$nl$nl"*) trailers=$nl${message##*"$nl$nl"} ;; *) trailers= ;; esac
case $trailers in
*"${nl}Imgbump: v1$nl"*)
	if ! mixed "$HEAD_MESSAGE"; then
		echo "::notice::The commit that started this run is a bump of imgbump's own (trailer Imgbump: v1): nothing to do."
		exit 0
	fi
	;;
esac

check() { # INPUT VALUE
	case $2 in
	true | false) ;;
	*) fail "input $1 is \"$2\": it is true or false" 2 ;;
	esac
}
check push "$INPUT_PUSH"
check scan "$INPUT_SCAN"
check bump "$INPUT_BUMP"
check commit "$INPUT_COMMIT"
check build-from-source "$INPUT_BUILD_FROM_SOURCE"
if [ -z "$INPUT_NEXT$INPUT_TAGS" ] && { [ "$INPUT_BUMP" = false ] || [ -z "$INPUT_IMAGES" ]; }; then
	fail "nothing to do: give tags (where the image is pushed), images (the references to set in the manifests), or next (the part of the version to raise)" 2
fi

case ${RUNNER_OS:-Linux}-${RUNNER_ARCH:-} in
Linux-X64) platform=linux-amd64 ;;
Linux-ARM64) platform=linux-arm64 ;;
macOS-X64) platform=darwin-amd64 ;;
macOS-ARM64) platform=darwin-arm64 ;;
*) platform=unknown ;;
esac

# A release of the action carries the checksums of its binaries, whose names hold the version.
version=
if [ -f "$here/checksums.txt" ]; then
	while read -r _ file; do
		case $file in
		imgbump-*-"$platform") version=${file#imgbump-} version=${version%-"$platform"} ;;
		esac
	done <"$here/checksums.txt"
fi

# Both binaries are there, run on this machine, and are of this version (of any, in a copy without one).
usable() { # DIR
	for name in imgbump harborpush; do
		[ -x "$1/$name" ] || return 1
		found=$("$1/$name" version 2>/dev/null) || return 1
		case $found in
		"$name ${version:+$version }"*) ;;
		*)
			echo "not used: $1/$name is \"$found\", this action is $version"
			return 1
			;;
		esac
	done
}

use() { # DIR
	echo "binaries: $1"
	echo "bin=$1" >>"$GITHUB_OUTPUT"
	exit 0
}

build() {
	command -v go >/dev/null || fail "build-from-source needs go on PATH: run actions/setup-go before this action"
	dir=${RUNNER_TEMP:-/tmp}/imgbump-bin
	mkdir -p "$dir"
	(cd "$here/.." && CGO_ENABLED=0 go build -buildvcs=false -o "$dir/" ./cmd/imgbump ./cmd/harborpush) ||
		fail "the build of imgbump's source failed"
	use "$dir"
}

fetch() { # URL FILE
	if command -v curl >/dev/null; then
		curl --fail --silent --show-error --location --retry 3 --output "$2" "$1"
	else
		wget -q -O "$2" "$1"
	fi || fail "could not download $1: see download-url, or put the binaries on PATH"
}

# Each file is verified before it gets its name, so that two jobs may fill one cache.
download() { # DIR
	for tool in sha256sum mktemp mkdir chmod mv rm; do
		command -v $tool >/dev/null || fail "no imgbump $version on this runner, and downloading it needs $tool: install it, or put the binaries on PATH"
	done
	command -v curl >/dev/null || command -v wget >/dev/null ||
		fail "no imgbump $version on this runner, and downloading it needs curl or wget: install one, or put the binaries on PATH"
	mkdir -p "$1"
	part=
	trap 'rm -f "$part"' EXIT
	for name in imgbump harborpush; do
		part=$(mktemp "$1/.download.XXXXXX")
		file=$name-$version-$platform
		fetch "$INPUT_DOWNLOAD_URL/$version/$file" "$part"
		while read -r sum listed; do
			[ "$listed" != "$file" ] || printf '%s  %s\n' "$sum" "$part"
		done <"$here/checksums.txt" | sha256sum -c - >/dev/null 2>&1 ||
			fail "$INPUT_DOWNLOAD_URL/$version/$file does not have the checksum of this action's release"
		chmod 755 "$part"
		mv -f "$part" "$1/$name"
	done
	use "$1"
}

asked=${INPUT_BINARY_PATH:-${IMGBUMP_BIN:-}}
if [ -n "$asked" ]; then
	for name in imgbump harborpush; do
		[ -x "$asked/$name" ] || fail "binary-path $asked does not hold $name"
	done
	use "$asked"
fi
if [ "$INPUT_BUILD_FROM_SOURCE" = true ]; then
	build
fi
onpath=$(command -v imgbump) || onpath=
cached=${RUNNER_TOOL_CACHE:-${RUNNER_TEMP:-/tmp}}/imgbump/${version#v}/${platform#*-}
for dir in "${onpath%/*}" "$cached" "$here/../bin/$platform"; do
	if [ -n "$dir" ] && usable "$dir"; then
		use "$dir"
	fi
done
if [ -z "$version" ]; then
	fail "no imgbump and harborpush on PATH, and this copy of the action is not a release with binaries for $platform: use a release's tag, or set binary-path, or build-from-source: true"
fi
download "$cached"
