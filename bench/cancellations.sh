#!/usr/bin/env bash
# Measures cancellations of one unit over HTTP, relative to pgbench running the same statements. Prints the table of
# docs/BENCHMARKS.md.
#
# ROUNDS (5) and SECONDS_EACH (8) set the duration. It needs wrk, and pgbench, which is part of PostgreSQL.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-8}
port=${BENCH_PORT:-18126}
url=http://127.0.0.1:$port
export ORDERS=1600
work=$(mktemp -d /tmp/afforo-cancellations.XXXXXX)
# shellcheck source=bench/server.sh
. "$here/server.sh"
start_server "$work/server"
seed --products 1000 --stores 8 --inventory 8000 --orders 0 >/dev/null
query -f "$here/prepare.sql"
# One after the other, so that an order and its item have the same id. No run cancels all units.
for order in $(seq "$ORDERS"); do
    echo "{\"store_id\": $((order % 8 + 1)), \"items\": [{\"product_id\": $((order % 200 + 1)), \"quantity\": 100000}]}" >order
    curl -sf -o answer -H 'content-type: application/json' -d @order "$url/api/orders/" || { cat answer >&2; exit 1; }
done
query -c "vacuum analyze"

statements() { # connections
    # A server that is stopped within a transaction would hold its locks.
    sleep 1
    kill -STOP "$server"
    "$programs/pgbench" -h "$socket" -U postgres -n -M prepared -j 1 -T "$seconds" -c "$1" -D orders="$ORDERS" \
        -f "$here/cancellation.sql" afforo 2>pgbench | sed -n 's/^tps = \([0-9.]*\).*/\1/p' || { cat pgbench >&2; exit 1; }
    kill -CONT "$server"
    sleep 1
}

load 64 5 -s "$here/cancellation.lua" "$url" >/dev/null
for _ in $(seq "$rounds"); do
    for connections in 16 64; do
        statements "$connections" >>"statements-$connections"
        load "$connections" "$seconds" -s "$here/cancellation.lua" "$url" >>"http-$connections"
    done
done
check
echo "$(machine), $rounds rounds of $seconds s, medians."
echo
echo "| cancellations/s | pgbench, the same statements | Afforo | ratio |"
echo "|---|---:|---:|---:|"
for connections in 16 64; do
    awk -v c="$connections" -v p="$(median "statements-$connections")" -v h="$(median "http-$connections")" \
        'BEGIN { printf "| %s connections | %.0f | %.0f | **%.2f** |\n", c, p, h, h / p }'
done
