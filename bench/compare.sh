#!/usr/bin/env bash
# Compares two builds of Afforo in alternating rounds: orders per second over HTTP, product reads per second, and the
# server's CPU time for each.
#
#     bench/compare.sh OLD_BINARY NEW_BINARY
#
# ROUNDS (5) and SECONDS_EACH (10) set the duration. SETUP_NEW is a command of Afforo that prepares the database of the new
# build, such as "partitions convert" to compare plain and partitioned tables of one build. RESERVATIONS is the number of active
# reservations in the database of the new build. It needs wrk.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
old=$(realpath "${1:?usage: bench/compare.sh OLD_BINARY NEW_BINARY}")
new=$(realpath "${2:?usage: bench/compare.sh OLD_BINARY NEW_BINARY}")
rounds=${ROUNDS:-5}
seconds=${SECONDS_EACH:-10}
port=${BENCH_PORT:-18124}
work=$(mktemp -d /tmp/afforo-compare.XXXXXX)
AFFORO=$old
# shellcheck source=bench/server.sh
. "$here/server.sh"

# CPU time of the server process so far, in clock ticks. It excludes PostgreSQL and Redis.
ticks() { awk '{ print $14 + $15 }' "/proc/$server/stat"; }

# Records requests per second, and microseconds of CPU time per request.
record() { # file connections seconds [wrk options]
    local before
    before=$(ticks)
    load "${@:2}" >>"$work/$1"
    awk -v ticks="$(($(ticks) - before))" -v hertz="$(getconf CLK_TCK)" \
        '/requests in/ { print ticks / hertz * 1000000 / $1 }' "$work/wrk" >>"$work/$1-cpu"
}

# Measures one build: start a new server, warm up, then measure each figure once.
measure() { # name binary round
    afforo=$2
    start_server "$work/$1-$3"
    query -f "$here/prepare.sql" >/dev/null
    if [ "$1" = new ] && [ -n "${SETUP_NEW:-}" ]; then
        # Several words.
        # shellcheck disable=SC2086
        "$afforo" $SETUP_NEW --database-url "$database_url" >&2
    fi
    if [ "$1" = new ] && [ "${RESERVATIONS:-0}" -gt 0 ]; then
        query -v reservations="$RESERVATIONS" -f "$here/reservations.sql" >/dev/null
    fi
    local url="http://127.0.0.1:$port"
    record warm-up 64 5 -s "$here/order.lua" "$url"
    query -c "vacuum analyze" >/dev/null
    for connections in 64 256; do
        record "$1-orders-$connections" "$connections" "$seconds" -s "$here/order.lua" "$url"
    done
    record "$1-product-64" 64 "$seconds" "$url/api/products/1/"
    cd "$work"
    stop_server
}

row() { # what file
    local ratios
    ratios=$(paste "$work/old-$2" "$work/new-$2" | awk '{ printf "%s%.3f", (NR > 1 ? ", " : ""), $2 / $1 }')
    awk -v what="$1" -v old="$(median "$work/old-$2")" -v new="$(median "$work/new-$2")" -v ratios="$ratios" \
        'BEGIN { printf "| %s | %.0f | %.0f | **%.3f** | %s |\n", what, old, new, new / old, ratios }'
}

for round in $(seq "$rounds"); do
    if [ $((round % 2)) -eq 1 ]; then turns="old new"; else turns="new old"; fi
    for turn in $turns; do measure "$turn" "${!turn}" "$round"; done
    echo "compare: round $round of $rounds" >&2
done

echo "$(date -u +%F), $(nproc) cores, $rounds rounds of $seconds s, medians."
echo
echo "| | old | new | new / old | each round |"
echo "|---|---:|---:|---:|---|"
for connections in 64 256; do
    row "orders/s, 2 items, $connections connections" "orders-$connections"
    row "µs of CPU per order" "orders-$connections-cpu"
done
row "product reads/s, 64 connections" product-64
row "µs of CPU per product read" product-64-cpu
