#!/bin/sh
# What the scripts that install programs share. They source this file: `. "$(dirname "$0")/installing.sh"`.

# Prints a message under the name of the script.
say() { echo "$(basename "$0" .sh): $*"; }

has() { command -v "$1" >/dev/null 2>&1; }

# Print a command and run it: `plainly` as the current user, `run` as root.
plainly() {
    say "\$ $*"
    "$@"
}

run() {
    if [ "$(id -u)" -eq 0 ]; then
        plainly "$@"
    elif has sudo; then
        plainly sudo "$@"
    else
        say "This command needs root, but sudo is not installed: $*"
        return 1
    fi
}

quietly() {
    if [ "$(id -u)" -eq 0 ]; then "$@"; else sudo "$@"; fi
}
