#!/usr/bin/env bash
# Checks, without Docker, that the image builds from what gets into it: a file that the code needs, but .dockerignore
# holds back or the Dockerfile does not copy, would otherwise be missed by nobody until somebody builds the image.
#
# It reads the Dockerfile's first stage and .dockerignore, copies what both let through into a folder of its own, and
# there runs the stage's last `cargo build` as `cargo check`.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "check-image-sources: $*" >&2
    exit 1
}

# Everything is made anew but what cargo has built: files keep their times, so cargo sees which of them are new.
work=$PWD/target/image-sources
rm -rf "$work/context" "$work/build"
mkdir -p "$work/context" "$work/build"

# The context: .dockerignore is an allow-list, `*` and then what is let through after all.
read_ignore() { sed -e 's/[[:space:]]*$//' -e '/^#/d' -e '/^$/d' .dockerignore; }
[ "$(read_ignore | head -n 1)" = '*' ] || fail ".dockerignore does not begin with *"
while read -r pattern; do
    case $pattern in
    '!'*[*?[]* | [!!]*) fail ".dockerignore has a pattern that this script does not know: $pattern" ;;
    esac
    # Only what git has: the rest of a working copy is not there for others.
    git ls-files -z -- "${pattern#!}" | xargs -0 --no-run-if-empty cp -p --parents -t "$work/context"
done < <(read_ignore | tail -n +2)

# The first stage, each instruction on one line.
stage=$(sed -e ':join' -e '/\\$/{N;s/\\\n//;b join' -e '}' Dockerfile | sed -n '/^FROM /{x;s/^/x/;/xx/q;x};/^[A-Z]/p')
while read -r _ arguments; do
    read -ra paths <<<"$arguments"
    into=$work/build/${paths[-1]#./}
    for path in "${paths[@]:0:${#paths[@]}-1}"; do
        [ -e "$work/context/$path" ] || fail "the Dockerfile copies $path, which .dockerignore holds back"
        # The contents of a folder are copied, not the folder.
        if [ -d "$work/context/$path" ]; then
            mkdir -p "$into"
            cp -pR "$work/context/$path/." "$into"
        else
            cp -p "$work/context/$path" "$into"
        fi
    done
done < <(grep '^COPY ' <<<"$stage")

build=$(grep -o 'cargo build[^&|;]*' <<<"$stage" | tail -n 1)
[ -n "$build" ] || fail "the Dockerfile has no cargo build"
read -ra options <<<"${build#cargo build}"
echo "check-image-sources: cargo check ${options[*]}"
cd "$work/build"
CARGO_TARGET_DIR=$work/target cargo check --quiet "${options[@]}"
echo "check-image-sources: the image has all that it is built from."
