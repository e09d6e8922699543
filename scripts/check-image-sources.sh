#!/usr/bin/env bash
# Checks, without Docker, that the Docker build has all source files. It detects files that the code needs, but that
# .dockerignore excludes or the Dockerfile does not copy.
#
# The script reads .dockerignore and the first stage of the Dockerfile, copies the files that both include into a
# separate folder, and runs the stage's last `cargo build` there as `cargo check`.
set -euo pipefail
cd "$(dirname "$0")/.."

fail() {
    echo "check-image-sources: $*" >&2
    exit 1
}

# Recreate the folders, but keep the build output of cargo. Copies keep their timestamps, so cargo rebuilds changed
# files only.
work=$PWD/target/image-sources
rm -rf "$work/context" "$work/build"
mkdir -p "$work/context" "$work/build"

# The build context. .dockerignore is an allow-list: `*`, then exceptions.
read_ignore() { sed -e 's/[[:space:]]*$//' -e '/^#/d' -e '/^$/d' .dockerignore; }
[ "$(read_ignore | head -n 1)" = '*' ] || fail ".dockerignore does not begin with *"
while read -r pattern; do
    case $pattern in
    '!'*[*?[]* | [!!]*) fail ".dockerignore has a pattern that this script does not support: $pattern" ;;
    esac
    # Copy tracked files only: other clones do not have untracked ones.
    git ls-files -z -- "${pattern#!}" | xargs -0 --no-run-if-empty cp -p --parents -t "$work/context"
done < <(read_ignore | tail -n +2)

# The first stage, with one instruction per line.
stage=$(sed -e ':join' -e '/\\$/{N;s/\\\n//;b join' -e '}' Dockerfile | sed -n '/^FROM /{x;s/^/x/;/xx/q;x};/^[A-Z]/p')
while read -r _ arguments; do
    read -ra paths <<<"$arguments"
    into=$work/build/${paths[-1]#./}
    for path in "${paths[@]:0:${#paths[@]}-1}"; do
        [ -e "$work/context/$path" ] || fail "the Dockerfile copies $path, which .dockerignore excludes"
        # COPY copies the contents of a folder, not the folder itself.
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
echo "check-image-sources: the image has all files that its build needs."
