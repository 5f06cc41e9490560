#!/bin/sh
# Runs one half of the action, image or bump: turns the inputs, which arrive as INPUT_* variables, into flags.
# An input becomes --flag=value, so that no value is taken for a flag; an empty one is left out; a list has one value a
# line. A secret is never here: the binaries read it from their environment.
set -efu
IFS='
'

# How a registry is reached is said in the same way to both halves.
set -- "$1" \
	${INPUT_USERNAME:+"--username=$INPUT_USERNAME"} \
	${INPUT_CA_FILE:+"--ca-file=$INPUT_CA_FILE"} \
	${INPUT_PLAIN_HTTP:+"--plain-http=$INPUT_PLAIN_HTTP"}
for value in $INPUT_RESOLVE; do set -- "$@" "--resolve=$value"; done

image() {
	set -- "$@" ${INPUT_PROJECT:+"--project=$INPUT_PROJECT"}
	for value in $INPUT_TAGS; do set -- "$@" "--tag=$value"; done
	if [ -n "$INPUT_ARCHIVE" ]; then
		exec "$BIN/harborpush" push "$@" -- "$INPUT_ARCHIVE"
	fi
	platforms=
	for value in $INPUT_PLATFORMS; do platforms=$platforms${platforms:+,}$value; done
	set -- "$@" \
		${platforms:+"--platform=$platforms"} \
		${INPUT_PUSH:+"--push=$INPUT_PUSH"} \
		${INPUT_FILE:+"--file=$INPUT_FILE"} \
		${INPUT_TARGET:+"--target=$INPUT_TARGET"}
	for value in $INPUT_OUTPUTS; do set -- "$@" "--output=$value"; done
	for value in $INPUT_BUILD_ARGS; do set -- "$@" "--build-arg=$value"; done
	for value in $INPUT_LABELS; do set -- "$@" "--label=$value"; done
	exec "$BIN/harborpush" build "$@" -- "$INPUT_CONTEXT"
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
		${INPUT_BRANCH:+"--branch=$INPUT_BRANCH"} \
		${INPUT_REMOTE:+"--remote=$INPUT_REMOTE"} \
		${INPUT_MESSAGE:+"--message=$INPUT_MESSAGE"} \
		${INPUT_AUTHOR:+"--author=$INPUT_AUTHOR"} \
		${INPUT_SIGN_OFF:+"--sign-off=$INPUT_SIGN_OFF"} \
		${INPUT_GIT_USERNAME:+"--git-username=$INPUT_GIT_USERNAME"} \
		${INPUT_GIT_CA_FILE:+"--git-ca-file=$INPUT_GIT_CA_FILE"} \
		${INPUT_MAX_ATTEMPTS:+"--max-attempts=$INPUT_MAX_ATTEMPTS"} \
		${INPUT_TIMEOUT:+"--timeout=$INPUT_TIMEOUT"} \
		${INPUT_ALL_OR_NOTHING:+"--all-or-nothing=$INPUT_ALL_OR_NOTHING"} \
		${INPUT_PR:+"--pr=$INPUT_PR"} \
		${INPUT_PR_BRANCH:+"--pr-branch=$INPUT_PR_BRANCH"} \
		${INPUT_PR_TITLE:+"--pr-title=$INPUT_PR_TITLE"} \
		${INPUT_PR_BODY:+"--pr-body=$INPUT_PR_BODY"}
	for value in $INPUT_PATHS; do set -- "$@" "--path=$value"; done
	for value in $INPUT_PR_LABELS; do set -- "$@" "--pr-label=$value"; done
	set -- "$@" --
	for value in $PUSHED_TAGS; do
		set -- "$@" "$value@$PUSHED_DIGEST"
		break
	done
	for value in $INPUT_IMAGES; do set -- "$@" "$value"; done
	exec "$BIN/imgbump" set "$@"
}

"$@"
