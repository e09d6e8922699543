#!/bin/sh
# Starts a PostgreSQL server of docker-compose.ha.yml. A server without data copies the server that takes writes; the service
# `db` creates the database if there is none. The connection names all servers, so that a standby follows the one that is promoted.
set -eu
all="host=db,db2,db3 port=5432 user=$POSTGRES_USER dbname=$POSTGRES_DB target_session_attrs=read-write connect_timeout=3"

if [ ! -s "$PGDATA/PG_VERSION" ]; then
    if [ "$NODE" = db ] && ! psql "$all" --command="select" > /dev/null 2>&1; then
        exec docker-entrypoint.sh "$@"
    fi
    until pg_basebackup --dbname="$all" --pgdata="$PGDATA" --write-recovery-conf --checkpoint=fast; do
        rm -rf "${PGDATA:?}"/*
        sleep 2
    done
fi
exec docker-entrypoint.sh "$@"
