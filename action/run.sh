#!/bin/sh
# Runs one part of the action, next, image, scan, bump or wait: turns the inputs, which arrive as INPUT_* variables, into flags.
# An input becomes --flag=value, so that no value is taken for a flag; an empty one is left out; a list has one value a
# line. A secret is never here: the binaries read it from their environment.
set -efu
IFS='
'

# How the servers are reached is said in the same way to all parts that reach them.
with_registry() { # PART [FLAG...]
	set -- "$@" \
		${INPUT_USERNAME:+"--username=$INPUT_USERNAME"} \
		${INPUT_K8S_SECRET:+"--k8s-secret=$INPUT_K8S_SECRET"} \
		${INPUT_K8S_CA:+"--k8s-ca=$INPUT_K8S_CA"} \
		${INPUT_CA_FILE:+"--ca-file=$INPUT_CA_FILE"} \
		${INPUT_PLAIN_HTTP:+"--plain-http=$INPUT_PLAIN_HTTP"}
	for value in $INPUT_RESOLVE; do set -- "$@" "--resolve=$value"; done
	"$@"
}
with_git() { # PART [FLAG...]
	"$@" \
		${INPUT_REMOTE:+"--remote=$INPUT_REMOTE"} \
		${INPUT_TIMEOUT:+"--timeout=$INPUT_TIMEOUT"} \
		${INPUT_SIGN_FORMAT:+"--sign-format=$INPUT_SIGN_FORMAT"} \
		${INPUT_GIT_USERNAME:+"--git-username=$INPUT_GIT_USERNAME"} \
		${INPUT_APP_ID:+"--app-id=$INPUT_APP_ID"} \
		${INPUT_KNOWN_HOSTS:+"--known-hosts=$INPUT_KNOWN_HOSTS"} \
		${INPUT_GIT_CA_FILE:+"--git-ca-file=$INPUT_GIT_CA_FILE"}
}

next() {
	set -- "$@" \
		"--bump=$INPUT_NEXT" \
		${INPUT_NEXT_PREFIX:+"--prefix=$INPUT_NEXT_PREFIX"} \
		${INPUT_NEXT_PRE:+"--pre=$INPUT_NEXT_PRE"} \
		${INPUT_NEXT_INITIAL:+"--initial=$INPUT_NEXT_INITIAL"} \
		${INPUT_CREATE_TAG:+"--push=$INPUT_CREATE_TAG"} \
		${INPUT_TAG_MESSAGE:+"--message=$INPUT_TAG_MESSAGE"}
	for value in $INPUT_NEXT_PATHS; do set -- "$@" "--path=$value"; done
	exec "$BIN/harborpush" next "$@"
}

image() {
	set -- "$@" \
		${INPUT_PROJECT:+"--project=$INPUT_PROJECT"} \
		${INPUT_COMPRESSION:+"--compression=$INPUT_COMPRESSION"} \
		${INPUT_COMPRESSION_LEVEL:+"--compression-level=$INPUT_COMPRESSION_LEVEL"} \
		${INPUT_CREATE_PROJECT:+"--create-project=$INPUT_CREATE_PROJECT"} \
		${INPUT_PUBLIC:+"--public=$INPUT_PUBLIC"} \
		${INPUT_HARBOR_LABELS:+"--harbor-labels=$INPUT_HARBOR_LABELS"} \
		${INPUT_ON_IMMUTABLE:+"--on-immutable=$INPUT_ON_IMMUTABLE"}
	for value in $INPUT_TAGS; do
		case $value in
		*"{version}"*)
			if [ -z "$VERSION" ]; then
				echo "::error::tags has {version}, but nothing says which: set next to patch, minor, major or auto"
				exit 2
			fi
			value=${value%%"{version}"*}$VERSION${value#*"{version}"}
			;;
		esac
		set -- "$@" "--tag=$value"
	done
	if [ -n "$INPUT_ARCHIVE" ]; then
		set -- "$@" --
		for value in $INPUT_ARCHIVE; do set -- "$@" "$value"; done
		exec "$BIN/harborpush" push "$@"
	fi
	platforms=
	for value in $INPUT_PLATFORMS; do platforms=$platforms${platforms:+,}$value; done
	set -- "$@" \
		${platforms:+"--platform=$platforms"} \
		${INPUT_PUSH:+"--push=$INPUT_PUSH"} \
		${INPUT_FILE:+"--file=$INPUT_FILE"} \
		${INPUT_TARGET:+"--target=$INPUT_TARGET"} \
		${INPUT_NETWORK:+"--network=$INPUT_NETWORK"} \
		${INPUT_SHM_SIZE:+"--shm-size=$INPUT_SHM_SIZE"} \
		${INPUT_ISOLATION:+"--isolation=$INPUT_ISOLATION"} \
		${INPUT_BUILDER:+"--builder=$INPUT_BUILDER"} \
		${INPUT_BUILDKIT_TLS:+"--tlsdir=$INPUT_BUILDKIT_TLS"} \
		${INPUT_CACHE_REPO:+"--cache-repo=$INPUT_CACHE_REPO"} \
		${INPUT_CACHE_DIR:+"--cache-dir=$INPUT_CACHE_DIR"} \
		${INPUT_CACHE_MODE:+"--cache-mode=$INPUT_CACHE_MODE"} \
		${INPUT_NO_CACHE:+"--no-cache=$INPUT_NO_CACHE"} \
		${INPUT_EXPLAIN_CACHE:+"--explain-cache=$INPUT_EXPLAIN_CACHE"} \
		${INPUT_PULL:+"--pull=$INPUT_PULL"} \
		${INPUT_BUILD_TIMEOUT:+"--timeout=$INPUT_BUILD_TIMEOUT"}
	for value in $INPUT_OUTPUTS; do set -- "$@" "--output=$value"; done
	for value in $INPUT_BUILD_ARGS; do set -- "$@" "--build-arg=$value"; done
	for value in $INPUT_BUILD_CONTEXTS; do set -- "$@" "--build-context=$value"; done
	for value in $INPUT_LABELS; do set -- "$@" "--label=$value"; done
	for value in $INPUT_ANNOTATIONS; do set -- "$@" "--annotation=$value"; done
	for value in $INPUT_SSH; do set -- "$@" "--ssh=$value"; done
	for value in $INPUT_ADD_HOSTS; do set -- "$@" "--add-host=$value"; done
	for value in $INPUT_ULIMIT; do set -- "$@" "--ulimit=$value"; done
	for value in $INPUT_CACHE_FROM; do set -- "$@" "--cache-from=$value"; done
	for value in $INPUT_CACHE_TO; do set -- "$@" "--cache-to=$value"; done
	for value in $INPUT_NO_CACHE_FILTERS; do set -- "$@" "--no-cache-filter=$value"; done
	exec "$BIN/harborpush" build "$@" -- "$INPUT_CONTEXT"
}

scan() {
	set -- "$@" \
		${INPUT_FAIL_ON:+"--fail-on=$INPUT_FAIL_ON"} \
		${INPUT_SCAN_TIMEOUT:+"--timeout=$INPUT_SCAN_TIMEOUT"} \
		${INPUT_SARIF:+"--sarif=$INPUT_SARIF"} \
		${INPUT_PROJECT:+"--project=$INPUT_PROJECT"}
	for value in $INPUT_IGNORE_CVES; do set -- "$@" "--ignore=$value"; done
	exec "$BIN/harborpush" scan "$@" -- "$PUSHED_IMAGE"
}

# The manifests get the first of the tags just pushed together with the digest, and whatever images names besides.
bump() {
	set -- "$@" \
		${INPUT_PIN:+"--pin=$INPUT_PIN"} \
		${INPUT_CHECK_EXISTS:+"--check-exists=$INPUT_CHECK_EXISTS"} \
		${INPUT_IF_NEWER:+"--if-newer=$INPUT_IF_NEWER"} \
		${INPUT_IGNORE_HOLD:+"--ignore-hold=$INPUT_IGNORE_HOLD"} \
		${INPUT_NO_GITIGNORE:+"--no-gitignore=$INPUT_NO_GITIGNORE"} \
		${INPUT_INCLUDE:+"--include=$INPUT_INCLUDE"} \
		${INPUT_VERSION_LABEL:+"--version-label=$INPUT_VERSION_LABEL"} \
		${INPUT_KUSTOMIZE_ADD:+"--kustomize-add=$INPUT_KUSTOMIZE_ADD"} \
		${INPUT_ROOT:+"--root=$INPUT_ROOT"} \
		${INPUT_DRY_RUN:+"--dry-run=$INPUT_DRY_RUN"} \
		${INPUT_COMMIT:+"--push=$INPUT_COMMIT"} \
		${INPUT_REPO:+"--repo=$INPUT_REPO"} \
		${INPUT_ALL_TARGETS:+"--all-targets=$INPUT_ALL_TARGETS"} \
		${INPUT_BRANCH:+"--branch=$INPUT_BRANCH"} \
		${INPUT_VIA:+"--via=$INPUT_VIA"} \
		${INPUT_COMMIT_PER:+"--commit-per=$INPUT_COMMIT_PER"} \
		${INPUT_MESSAGE:+"--message=$INPUT_MESSAGE"} \
		${INPUT_MESSAGE_FILE:+"--message-file=$INPUT_MESSAGE_FILE"} \
		${INPUT_AUTHOR:+"--author=$INPUT_AUTHOR"} \
		${INPUT_SIGN_OFF:+"--sign-off=$INPUT_SIGN_OFF"} \
		${INPUT_MAX_ATTEMPTS:+"--max-attempts=$INPUT_MAX_ATTEMPTS"} \
		${INPUT_ALL_OR_NOTHING:+"--all-or-nothing=$INPUT_ALL_OR_NOTHING"} \
		${INPUT_PR:+"--pr=$INPUT_PR"} \
		${INPUT_ON_PROTECTED:+"--on-protected=$INPUT_ON_PROTECTED"} \
		${INPUT_PR_PER:+"--pr-per=$INPUT_PR_PER"} \
		${INPUT_PR_FORK:+"--pr-fork=$INPUT_PR_FORK"} \
		${INPUT_PR_DRAFT:+"--pr-draft=$INPUT_PR_DRAFT"} \
		${INPUT_PR_AUTO_MERGE:+"--pr-auto-merge=$INPUT_PR_AUTO_MERGE"} \
		${INPUT_PR_BRANCH:+"--pr-branch=$INPUT_PR_BRANCH"} \
		${INPUT_PR_TITLE:+"--pr-title=$INPUT_PR_TITLE"} \
		${INPUT_PR_BODY:+"--pr-body=$INPUT_PR_BODY"}
	for value in $INPUT_PATHS; do set -- "$@" "--path=$value"; done
	for value in $INPUT_APPLICATIONS; do set -- "$@" "--application=$value"; done
	for value in $INPUT_TARGETS; do set -- "$@" "--target=$value"; done
	for value in $INPUT_TRAILERS; do set -- "$@" "--trailer=$value"; done
	for value in $INPUT_PUSH_OPTIONS; do set -- "$@" "--push-option=$value"; done
	for value in $INPUT_PR_LABELS; do set -- "$@" "--pr-label=$value"; done
	for value in $INPUT_PR_REVIEWERS; do set -- "$@" "--pr-reviewer=$value"; done
	for value in $INPUT_PR_ASSIGNEES; do set -- "$@" "--pr-assignee=$value"; done
	set -- "$@" --
	images=
	for value in $PUSHED_TAGS; do
		[ -n "$PUSHED_DIGEST" ] || break # the tag is immutable and was left as it is
		images=$value@$PUSHED_DIGEST
		break
	done
	for value in $images $INPUT_IMAGES; do set -- "$@" "$value"; done
	if [ -z "$images$INPUT_IMAGES" ]; then
		echo "::notice::Nothing was pushed, so the manifests stay as they are."
		return
	fi
	exec "$BIN/imgbump" set "$@"
}

# The commit just pushed is waited for: in the applications that are named, or in all whose files it touched.
live() {
	if [ -n "$INPUT_TARGETS" ] || [ "$INPUT_ALL_TARGETS" = true ]; then
		echo "::warning::wait is for one repository, and targets are several: nothing is waited for."
		return
	fi
	set -- "--revision=$COMMIT" \
		${INPUT_WAIT_TIMEOUT:+"--timeout=$INPUT_WAIT_TIMEOUT"} \
		${INPUT_ARGOCD_SERVER:+"--argocd-server=$INPUT_ARGOCD_SERVER"} \
		${INPUT_ARGOCD_CA_FILE:+"--argocd-ca-file=$INPUT_ARGOCD_CA_FILE"} \
		${INPUT_ARGOCD_NAMESPACE:+"--argocd-namespace=$INPUT_ARGOCD_NAMESPACE"} \
		${INPUT_REFRESH_WEBHOOK:+"--refresh-webhook=$INPUT_REFRESH_WEBHOOK"} \
		${INPUT_SYNC_RETRIES:+"--sync-retries=$INPUT_SYNC_RETRIES"} \
		${INPUT_LOG_LINES:+"--log-lines=$INPUT_LOG_LINES"} \
		${INPUT_ROOT:+"--root=$INPUT_ROOT"} \
		${INPUT_REPO:+"--repo=$INPUT_REPO"} \
		${INPUT_BRANCH:+"--branch=$INPUT_BRANCH"} \
		${INPUT_REMOTE:+"--remote=$INPUT_REMOTE"} \
		${INPUT_GIT_USERNAME:+"--git-username=$INPUT_GIT_USERNAME"} \
		${INPUT_APP_ID:+"--app-id=$INPUT_APP_ID"} \
		${INPUT_KNOWN_HOSTS:+"--known-hosts=$INPUT_KNOWN_HOSTS"} \
		${INPUT_GIT_CA_FILE:+"--git-ca-file=$INPUT_GIT_CA_FILE"}
	if [ "$INPUT_WAIT" = true ]; then
		exec "$BIN/imgbump" wait "$@" --all-changed
	fi
	set -- "$@" --
	for value in $INPUT_WAIT; do set -- "$@" "$value"; done
	exec "$BIN/imgbump" wait "$@"
}

case $1 in
next) with_git next ;;
image | scan) with_registry "$1" ;;
bump) with_git with_registry bump ;;
wait) live ;;
esac
