#!/usr/bin/env bash
# Checks all SQL of the crate against a fresh schema and writes the metadata to .sqlx, so that builds need no database.
# With --check, it writes nothing and fails if .sqlx is out of date.
set -euo pipefail
cd "$(dirname "$0")/.."

programs=$(scripts/install-servers.sh --postgres-folder)
work=$(mktemp -d /tmp/afforo-sqlx.XXXXXX)
chmod 755 "$work"
mkdir "$work/metadata" "$work/server"

# PostgreSQL does not run as root.
as_server() {
    if [ "$(id -u)" -eq 0 ]; then
        su -s /bin/sh postgres -c "cd / && $*"
    else
        sh -c "$*"
    fi
}
stop() {
    as_server "'$programs/pg_ctl' -D '$work/server/data' -m immediate -s stop" || true
    rm -rf "$work"
}

if [ "$(id -u)" -eq 0 ]; then chown postgres "$work/server"; fi
as_server "'$programs/initdb' -D '$work/server/data' -U postgres -A trust -E UTF8 --locale=C --no-sync >/dev/null"
trap stop EXIT
as_server "'$programs/pg_ctl' -D '$work/server/data' -o \"-c listen_addresses= -c fsync=off -k '$work/server'\" \
    -l '$work/server/log' -s -w start"
for migration in migrations/*.sql; do
    "$programs/psql" -h "$work/server" -U postgres -v ON_ERROR_STOP=1 --no-psqlrc --quiet --single-transaction <"$migration"
done

# The macros write metadata at compile time, so force a rebuild.
touch src/lib.rs
encoded=${work//\//%2F}%2Fserver
SQLX_OFFLINE=false SQLX_OFFLINE_DIR="$work/metadata" DATABASE_URL="postgres://postgres@$encoded/postgres" \
    cargo check --locked --quiet --lib

if [ "${1-}" = --check ]; then
    if ! diff --recursive --brief .sqlx "$work/metadata"; then
        echo "sqlx-metadata: .sqlx is out of date: run \`make sqlx\` and commit the result" >&2
        exit 1
    fi
    echo "sqlx-metadata: .sqlx is up to date."
else
    rm -rf .sqlx
    cp -R "$work/metadata" .sqlx
    echo "sqlx-metadata: wrote .sqlx with $(find .sqlx -name '*.json' | wc -l) queries."
fi
