#!/bin/sh
# Installs PostgreSQL and Redis if they are missing. It uses the system's package manager only. It does not create or
# start a server: Afforo starts private servers from the installed programs.
#
# PG_BIN (the folder with `initdb` and `postgres`) and REDIS_BIN (`redis-server`, or its folder) set the paths of the
# programs. The search paths are those of crates/devstack/src/binaries.rs.
#
# With --postgres-folder, it installs nothing and prints the folder of PostgreSQL's programs for other scripts.
set -eu
# shellcheck source=scripts/installing.sh
. "$(dirname "$0")/installing.sh"

main() {
    if [ "${1-}" = --postgres-folder ]; then
        has_postgres && postgres_folder
        return
    fi
    if all_there; then
        say "PostgreSQL ($(postgres_folder)) and Redis ($(redis_program)) are already installed."
        return
    fi
    missing | while read -r what; do say "Missing: $what."; done

    if has apt-get; then install_with_apt
    elif has dnf; then install_with_dnf
    elif has apk; then install_with_apk
    elif has pacman; then install_with_pacman
    elif has brew; then install_with_brew
    else say "Found no supported package manager (apt-get, dnf, apk, pacman, brew)."
    fi

    if ! all_there; then
        missing | while read -r what; do say "Still missing: $what."; done
        say "Install it manually, or set PG_BIN and REDIS_BIN to the installed programs, then retry."
        exit 1
    fi
    say "Installed: PostgreSQL in $(postgres_folder), Redis as $(redis_program)."
}

# --- One function per package manager. Some distributions have Valkey instead of Redis.

install_with_apt() {
    run apt-get update || true
    keep_debian_from_starting_servers
    if ! has_postgres || ! has_pg_trgm; then
        run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends postgresql || true
    fi
    if ! has_redis; then
        install_redis_with_apt redis-server || install_redis_with_apt valkey-server || true
    fi
    undo
}

install_redis_with_apt() {
    run env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$1" || return 1
    # The package enables the service at boot.
    if has systemctl; then run systemctl --quiet disable "$1" || true; fi
}

install_with_dnf() {
    has_postgres && has_pg_trgm || run dnf install -y postgresql-server postgresql-contrib || true
    has_redis || run dnf install -y redis || run dnf install -y valkey || true
}

install_with_apk() {
    has_postgres && has_pg_trgm || run apk add postgresql postgresql-contrib || true
    has_redis || run apk add redis || run apk add valkey || true
}

install_with_pacman() {
    has_postgres && has_pg_trgm || run pacman -S --needed --noconfirm postgresql || true
    has_redis || run pacman -S --needed --noconfirm valkey || run pacman -S --needed --noconfirm redis || true
}

install_with_brew() {
    has_postgres && has_pg_trgm || plainly brew install postgresql@17 || true
    has_redis || plainly brew install redis || true
}

# --- Debian starts services when it installs them. Two temporary files prevent this.

POLICY=/usr/sbin/policy-rc.d
NO_CLUSTER=/etc/postgresql-common/createcluster.d/afforo-install.conf
made_policy=no

keep_debian_from_starting_servers() {
    say "During the installation, $NO_CLUSTER and $POLICY prevent the creation and start of servers."
    trap undo EXIT
    trap 'exit 1' HUP INT TERM
    quietly mkdir -p "$(dirname "$NO_CLUSTER")"
    echo "create_main_cluster = false" | quietly tee "$NO_CLUSTER" >/dev/null
    if [ ! -e "$POLICY" ]; then
        made_policy=yes
        printf '#!/bin/sh\nexit 101\n' | quietly tee "$POLICY" >/dev/null
        quietly chmod 755 "$POLICY"
    fi
}

undo() {
    trap - EXIT
    quietly rm -f "$NO_CLUSTER"
    if [ "$made_policy" = yes ]; then quietly rm -f "$POLICY"; fi
}

# --- Detection.

all_there() {
    [ -z "$(missing)" ]
}

missing() {
    if ! has_postgres; then
        echo "the PostgreSQL server (initdb and postgres)"
    elif ! has_pg_trgm; then
        echo "PostgreSQL's extension pg_trgm (package contrib)"
    fi
    has_redis || echo "the Redis server (redis-server or valkey-server)"
}

has_postgres() { [ -n "$(postgres_folder)" ]; }

has_redis() { [ -n "$(redis_program)" ]; }

has_pg_trgm() {
    folder=$(postgres_folder)
    share=$("$folder/pg_config" --sharedir 2>/dev/null || echo /nonexistent)
    for control in "$share"/extension/pg_trgm.control \
        "$folder"/../share/extension/pg_trgm.control "$folder"/../share/postgresql*/extension/pg_trgm.control \
        /usr/share/postgresql*/extension/pg_trgm.control /usr/share/postgresql/*/extension/pg_trgm.control \
        /usr/share/pgsql/extension/pg_trgm.control; do
        if [ -f "$control" ]; then return 0; fi
    done
    return 1
}

# Prints the first folder that contains a PostgreSQL server.
postgres_folder() {
    postgres_candidates | while IFS= read -r folder; do
        if [ -f "$folder/initdb" ] && [ -f "$folder/postgres" ]; then
            echo "$folder"
            break
        fi
    done
}

postgres_candidates() {
    if [ -n "${PG_BIN-}" ]; then
        echo "$PG_BIN"
        return
    fi
    pg_config --bindir 2>/dev/null || true
    newest_first /usr/lib/postgresql/*/bin
    newest_first /usr/pgsql-*/bin
    newest_first /opt/homebrew/opt/postgresql@*/bin
    newest_first /usr/local/opt/postgresql@*/bin
    newest_first /home/linuxbrew/.linuxbrew/opt/postgresql@*/bin
    newest_first /usr/libexec/postgresql*
    path_folders
}

newest_first() {
    printf '%s\n' "$@" | sed 's/^[^0-9]*\([0-9]*\)/\1 &/' | sort -rn | cut -d ' ' -f 2-
}

redis_program() {
    if [ -f "${REDIS_BIN-}" ]; then
        echo "$REDIS_BIN"
        return
    fi
    for name in redis-server valkey-server; do
        redis_folders | while IFS= read -r folder; do
            if [ -f "$folder/$name" ]; then
                echo "$folder/$name"
                break
            fi
        done
    done | head -n 1
}

redis_folders() {
    if [ -n "${REDIS_BIN-}" ]; then
        echo "$REDIS_BIN"
        return
    fi
    path_folders
    printf '%s\n' /usr/bin /usr/local/bin /usr/sbin /opt/homebrew/bin /home/linuxbrew/.linuxbrew/bin
}

path_folders() { echo "$PATH" | tr ':' '\n'; }

main "$@"
