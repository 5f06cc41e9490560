#!/bin/sh
# Installs the pinned tools that the tests and linters use into .tools/bin (or $IMGBUMP_TOOLS/bin) and prints that folder.
# This is the one place where their versions stand. A tool that is there in its version is left alone.
#
#   sh hack/tools.sh             all of them
#   sh hack/tools.sh act ...     only the named ones
set -eu

tools='
act              github.com/nektos/act                      v0.2.89
actionlint       github.com/rhysd/actionlint/cmd/actionlint v1.7.12
kubectl-validate sigs.k8s.io/kubectl-validate               v0.0.4
helm             helm.sh/helm/v3/cmd/helm                  v3.22.0
kustomize        sigs.k8s.io/kustomize/kustomize/v5         v5.8.2
promtool         github.com/prometheus/prometheus/cmd/promtool v0.316.0 remove_all_sd
staticcheck      honnef.co/go/tools/cmd/staticcheck         v0.8.2
'

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
bin=${IMGBUMP_TOOLS:-$top/.tools}/bin
mkdir -p "$bin"

# The version is part of the stamp's name, so that a changed pin installs again.
install() { # NAME PACKAGE VERSION [BUILD TAG]
	stamp=$bin/.$1@$3
	if [ -x "$bin/$1" ] && [ -e "$stamp" ]; then
		return
	fi
	start=$(date +%s)
	GOBIN=$bin go install ${4:+-tags="$4"} "$2@$3"
	rm -f "$bin/.$1@"*
	: >"$stamp"
	echo "installed $1 $3 in $(($(date +%s) - start)) s" >&2
}

printf '%s' "$tools" | while read -r name package version tag; do
	[ -n "$name" ] || continue
	case " ${*:-$name} " in
	*" $name "*) install "$name" "$package" "$version" "$tag" ;;
	esac
done
echo "$bin"
