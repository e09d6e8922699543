#!/bin/sh
# Installs Chromium and its WebDriver, chromedriver, where they are missing, with the system's own package manager and
# from nowhere else. The tests of the console need both; they start them headless, on profiles of their own.
#
# CHROMIUM and CHROMEDRIVER name programs that are elsewhere. What is looked for, and where, is what
# tests/browser/kit/driver.rs looks for. Both must be of one major version.
set -eu

main() {
    if all_there; then
        say "Chromium ($(chromium_program)) and chromedriver ($(chromedriver_program)) are installed already."
        return
    fi
    missing | while read -r what; do say "Missing: $what."; done

    if has apt-get; then install_with_apt
    elif has dnf; then run dnf install -y chromium chromedriver || true
    elif has apk; then run apk add chromium chromium-chromedriver font-dejavu || true
    elif has pacman; then run pacman -S --needed --noconfirm chromium || true
    elif has brew; then plainly brew install --cask chromium chromedriver || true
    else say "There is no apt-get, dnf, apk, pacman or brew here."
    fi

    if ! all_there; then
        missing | while read -r what; do say "Still missing: $what."; done
        say "Install it by hand, or set CHROMIUM and CHROMEDRIVER to where it is, then try again."
        exit 1
    fi
    say "Installed: Chromium as $(chromium_program), chromedriver as $(chromedriver_program)."
}

# Debian's packages have no services. Ubuntu's only install snaps, which need a system with snapd.
install_with_apt() {
    run apt-get update || true
    for packages in "chromium chromium-driver fonts-dejavu-core" "chromium-browser chromium-chromedriver"; do
        # shellcheck disable=SC2086 # Several packages.
        run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages || true
        if all_there; then return; fi
    done
}

# --- What is there.

all_there() { [ -z "$(missing)" ]; }

missing() {
    [ -n "$(chromium_program)" ] || echo "Chromium"
    [ -n "$(chromedriver_program)" ] || echo "chromedriver"
}

chromium_program() {
    if [ -n "${CHROMIUM-}" ]; then
        if [ -f "$CHROMIUM" ]; then echo "$CHROMIUM"; fi
        return
    fi
    first_of chromium chromium-browser google-chrome google-chrome-stable \
        "/Applications/Chromium.app/Contents/MacOS/Chromium" \
        "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome"
}

chromedriver_program() {
    if [ -n "${CHROMEDRIVER-}" ]; then
        if [ -f "$CHROMEDRIVER" ]; then echo "$CHROMEDRIVER"; fi
        return
    fi
    first_of chromedriver chromium.chromedriver /usr/lib/chromium/chromedriver \
        /usr/lib/chromium-browser/chromedriver /snap/bin/chromium.chromedriver
}

# The first of some programs that is there, by its name or its path.
first_of() {
    for program in "$@"; do
        if has "$program"; then
            command -v "$program"
            return
        fi
    done
}

# --- Small helpers.

say() { echo "install-browser: $*"; }

has() { command -v "$1" >/dev/null 2>&1; }

# Shows a command, then runs it, as it is or as root.
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
        say "This needs root, and there is no sudo: $*"
        return 1
    fi
}

main "$@"
