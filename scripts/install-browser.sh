#!/bin/sh
# Installs Chromium and its WebDriver, chromedriver, if they are missing. It uses the system's package manager only. The
# console tests run both, headless and with separate profiles.
#
# CHROMIUM and CHROMEDRIVER set the paths of the programs. The search paths are those of tests/browser/kit/driver.rs.
# Both programs must have the same major version.
set -eu
# shellcheck source=scripts/installing.sh
. "$(dirname "$0")/installing.sh"

main() {
    if all_there; then
        say "Chromium ($(chromium_program)) and chromedriver ($(chromedriver_program)) are already installed."
        return
    fi
    missing | while read -r what; do say "Missing: $what."; done

    if has apt-get; then install_with_apt
    elif has dnf; then run dnf install -y chromium chromedriver || true
    elif has apk; then run apk add chromium chromium-chromedriver font-dejavu || true
    elif has pacman; then run pacman -S --needed --noconfirm chromium || true
    elif has brew; then plainly brew install --cask chromium chromedriver || true
    else say "Found no supported package manager (apt-get, dnf, apk, pacman, brew)."
    fi

    if ! all_there; then
        missing | while read -r what; do say "Still missing: $what."; done
        say "Install it manually, or set CHROMIUM and CHROMEDRIVER to the installed programs, then retry."
        exit 1
    fi
    say "Installed: Chromium as $(chromium_program), chromedriver as $(chromedriver_program)."
}

# Debian's packages contain the programs. Ubuntu's packages install snaps, which need snapd.
install_with_apt() {
    run apt-get update || true
    for packages in "chromium chromium-driver fonts-dejavu-core" "chromium-browser chromium-chromedriver"; do
        # shellcheck disable=SC2086 # Several packages.
        run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $packages || true
        if all_there; then return; fi
    done
}

# --- Detection.

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

# Prints the path of the first program found, by name or path.
first_of() {
    for program in "$@"; do
        if has "$program"; then
            command -v "$program"
            return
        fi
    done
}

main "$@"
