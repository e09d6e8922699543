#!/usr/bin/env bash
# Measures what an upgrade does to orders: the longest time that one took at a server of the build before while the new build
# migrates its database, and while nothing else runs.
#
#     bench/upgrade.sh OLD_BINARY NEW_BINARY
#
# ORDERS (5000000) of about two items each set the size, and SECONDS_EACH (60) how long orders are placed without migrations.
# It needs wrk, and about 8 GB in WORK (/var/tmp).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
# shellcheck disable=SC2034
AFFORO=$(realpath "${1:?usage: bench/upgrade.sh OLD_BINARY NEW_BINARY}")
new=$(realpath "${2:?usage: bench/upgrade.sh OLD_BINARY NEW_BINARY}")
orders=${ORDERS:-5000000}
seconds=${SECONDS_EACH:-60}
port=${BENCH_PORT:-18124}
work=$(mktemp -d "${WORK:-/var/tmp}/afforo-upgrade.XXXXXX")
# shellcheck source=bench/server.sh
. "$here/server.sh"

progress() { echo "upgrade: $*" >&2; }
place() { DELAY=20 load 64 "$1" -s "$here/order.lua" "http://127.0.0.1:$port"; } # seconds
# The longest time that an order took in the last run.
longest() { awk '$1 == "Latency" { print $4 }' "$work/wrk"; }
row() { echo "| $1 | $(cat "$work/rate") | $(sed -n 's/^p99.9: //p' "$work/wrk") ms | $(longest) |"; }

progress "filling a database with $orders orders"
start_server "$work/data"
seed --products 1000 --stores 8 --inventory 8000 --orders "$orders" >/dev/null
query -f "$here/prepare.sql" -c "vacuum analyze" -c checkpoint
place 10 >/dev/null
table="| | orders/s | p99.9 | longest |
|---|---|---|---|"
place "$seconds" >"$work/rate"
table+=$'\n'$(row "before")

# wrk needs to know beforehand how long it runs: migrations are sent to it in the middle, and have to end with it running.
progress "migrating beside the server"
place "$((seconds * 10))" >"$work/rate" &
placing=$!
sleep 5
started=$SECONDS
# shellcheck disable=SC2154
RUST_LOG=info "$new" migrate --database-url "$database_url" >"$work/migrated" 2>&1 || { cat "$work/migrated" >&2; exit 1; }
took=$((SECONDS - started))
kill -0 "$placing" || { progress "the migrations took longer than orders were placed: raise SECONDS_EACH"; exit 1; }
sleep 5
pkill -INT -P "$placing" wrk
wait "$placing"
table+=$'\n'$(row "while migrations run")

place "$seconds" >"$work/rate"
table+=$'\n'$(row "afterwards, the same server")
# shellcheck disable=SC2034
afforo=$new
check
echo "$(machine). $(query -c "select count(*) from order_item") items; migrations took $took s."
echo
echo "$table"
