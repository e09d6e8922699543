#!/bin/sh
# Installs PgBouncer 1.21 or later for the tests if it is missing. Older releases cannot serve Afforo in transaction mode.
# It uses the system's package manager only, and does not start a service. Where Debian's package is too old, it builds
# the source package of a later Debian, whose signature apt checks, into the cache folder of the user.
#
# PGBOUNCER_BIN sets the path of the program.
#
# With --program, it installs nothing and prints the path of the program for the tests.
set -eu
# shellcheck source=scripts/installing.sh
. "$(dirname "$0")/installing.sh"

OLDEST=1.21
SUITE=trixie
BUILT=${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/afforo/pgbouncer

main() {
    if [ "${1-}" = --program ]; then
        program | grep .
        return
    fi
    if has_pgbouncer; then
        say "PgBouncer ($(program)) is already installed."
        return
    fi
    say "Missing: PgBouncer $OLDEST or later."

    if has apt-get; then install_with_apt
    elif has dnf; then run dnf install -y pgbouncer || true
    elif has apk; then run apk add pgbouncer || true
    elif has pacman; then run pacman -S --needed --noconfirm pgbouncer || true
    elif has brew; then plainly brew install pgbouncer || true
    else say "Found no supported package manager (apt-get, dnf, apk, pacman, brew)."
    fi

    if ! has_pgbouncer; then
        say "Still missing: PgBouncer $OLDEST or later."
        say "Install it manually, or set PGBOUNCER_BIN to the installed program, then retry."
        exit 1
    fi
    say "Installed: PgBouncer as $(program)."
}

install_with_apt() {
    run apt-get update || true
    if is_new_enough "$(apt-cache policy pgbouncer | sed -n 's/^ *Candidate: //p')"; then
        install_package
    else
        build_later_source || true
    fi
}

# --- Debian starts services when it installs them. A temporary file prevents this.

POLICY=/usr/sbin/policy-rc.d

install_package() {
    if [ ! -e "$POLICY" ]; then
        say "During the installation, $POLICY prevents the start of the service."
        trap undo EXIT
        trap 'exit 1' HUP INT TERM
        printf '#!/bin/sh\nexit 101\n' | quietly tee "$POLICY" >/dev/null
        quietly chmod 755 "$POLICY"
    fi
    install pgbouncer || true
    if has systemctl; then run systemctl --quiet disable pgbouncer || true; fi
}

undo() { quietly rm -f "$POLICY"; }

# --- The source package of a later Debian, with lists of its own: the system's sources stay as they are.

build_later_source() {
    install gcc libc6-dev make pkg-config libevent-dev debian-archive-keyring || return 1
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    trap 'exit 1' HUP INT TERM
    mkdir -p "$work/lists/partial" "$work/cache/archives/partial"
    cat >"$work/debian.sources" <<END
Types: deb-src
URIs: http://deb.debian.org/debian
Suites: $SUITE
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
END
    (
        cd "$work" &&
            later_apt update &&
            later_apt source --download-only pgbouncer &&
            tar -xzf pgbouncer_*.orig.tar.gz &&
            cd pgbouncer-*/ &&
            say "Building PgBouncer in $PWD." &&
            logged ./configure --without-openssl --without-cares --without-pam &&
            logged make -j"$(nproc)" pgbouncer &&
            mkdir -p "$(dirname "$BUILT")" &&
            cp pgbouncer "$BUILT"
    )
}

later_apt() {
    plainly apt-get -q -o Dir::Etc::sourcelist="$work/debian.sources" -o Dir::Etc::sourceparts=- \
        -o Dir::State::lists="$work/lists" -o Dir::Cache="$work/cache" -o APT::Sandbox::User=root "$@"
}

# Shows the output of a command only if it fails.
logged() { "$@" >log 2>&1 || { tail -n 20 log; return 1; }; }

# --- Detection.

has_pgbouncer() { [ -n "$(program)" ]; }

# Prints the first program that is new enough.
program() {
    candidates | while IFS= read -r candidate; do
        if [ -f "$candidate" ] && is_new_enough "$("$candidate" --version 2>/dev/null | sed -n 's/^PgBouncer //p')"; then
            echo "$candidate"
            break
        fi
    done
}

candidates() {
    if [ -n "${PGBOUNCER_BIN-}" ]; then
        echo "$PGBOUNCER_BIN"
        return
    fi
    command -v pgbouncer || true
    printf '%s\n' /usr/sbin/pgbouncer /usr/bin/pgbouncer /usr/local/bin/pgbouncer /opt/homebrew/bin/pgbouncer "$BUILT"
}

# Whether a version such as 1.24.1 is at least the oldest supported one. Other texts, such as `(none)`, are not.
is_new_enough() {
    case $1 in [0-9]*) ;; *) return 1 ;; esac
    [ "$(printf '%s\n' "$OLDEST" "$1" | sort -V | head -n 1)" = "$OLDEST" ]
}

# --- Helpers.

install() { run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@"; }

main "$@"
