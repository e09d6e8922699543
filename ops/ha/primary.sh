#!/bin/sh
# Runs once, when the database is created: lets standbys copy it, and has each commit wait for one of them.
set -eu
echo "host replication $POSTGRES_USER samenet scram-sha-256" >> "$PGDATA/pg_hba.conf"
psql --username="$POSTGRES_USER" --dbname="$POSTGRES_DB" --set=ON_ERROR_STOP=1 \
    --command="alter system set synchronous_standby_names = 'ANY 1 (db, db2, db3)'"
