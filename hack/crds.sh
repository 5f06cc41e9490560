#!/bin/sh
# Gathers the definitions of the custom resources in manifests/, in the versions that its cluster runs, into .tools/crds and
# prints that folder. The Go module proxy has them, for their projects are Go modules. What is there is left alone.
set -eu

modules='
github.com/argoproj/argo-cd/v3                     v3.5.1  manifests/crds
github.com/cert-manager/cert-manager               v1.19.1 deploy/crds
github.com/external-secrets/external-secrets       v0.20.4 config/crds/bases
github.com/prometheus-operator/prometheus-operator v0.85.0 example/prometheus-operator-crd
go.universe.tf/metallb                             v0.15.2 config/crd/bases
sigs.k8s.io/gateway-api                            v1.6.1  config/crd/standard
'

top=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)
crds=$top/.tools/crds
stamp=$(printf '%s' "$modules" | cksum | cut -d ' ' -f 1)
if [ ! -e "$crds/.$stamp" ]; then
	incoming=$(mktemp -d)
	trap 'rm -rf "$incoming"' EXIT
	printf '%s' "$modules" | while read -r module version folder; do
		[ -n "$module" ] || continue
		# Outside of a module, so that go.mod and go.sum stay as they are.
		(cd "$incoming" && GOFLAGS='' GOWORK=off go mod download "$module@$version")
		found=$(go env GOMODCACHE)/$module@$version/$folder
		grep -l '^kind: CustomResourceDefinition' "$found"/*.yaml | while read -r file; do cp "$file" "$incoming"; done
	done
	rm -rf "$crds"
	mkdir -p "$crds"
	cp "$incoming"/*.yaml "$crds"
	chmod -R u+w "$crds"
	: >"$crds/.$stamp"
fi
echo "$crds"
