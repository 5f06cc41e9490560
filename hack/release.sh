#!/bin/sh
# Builds the binaries of a release into dist/ and writes their checksums to action/checksums.txt.
#
#   sh hack/release.sh v1.2.3
#
# The tag is set on the commit that adds that file, so that the action of a tag trusts the binaries of that tag and no
# others. The build gives the same bytes everywhere: the commit it names is the last one that changed anything else.
set -eu
cd "$(dirname "$0")/.."

version=${1:?"usage: sh hack/release.sh VERSION, such as v1.2.3"}
commit=$(git log -1 --format=%H -- . ':!action/checksums.txt')
vars=github.com/ksera524/imgbump/internal/cli

rm -rf dist
mkdir dist
for os in linux darwin; do
	for arch in amd64 arm64; do
		for name in imgbump harborpush; do
			CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath -buildvcs=false \
				-ldflags "-s -w -X $vars.Version=$version -X $vars.Commit=$commit" -o "dist/$name-$version-$os-$arch" "./cmd/$name"
		done
	done
done
(cd dist && sha256sum -- *) >action/checksums.txt
cat action/checksums.txt
