#!/usr/bin/env bash
# Measures whether orders per second fall as tables grow: at ten million orders relative to an empty database, and after
# an hour at half of full load, autovacuum included, relative to the first minute. Prints the table of
# docs/BENCHMARKS.md.
#
# ORDERS (10000000), ROUNDS (3), SECONDS_EACH (10) and MINUTES (60) set the size. It needs wrk, and about 25 GB in WORK
# (/var/tmp).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
orders=${ORDERS:-10000000}
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-10}
minutes=${MINUTES:-60}
port=${BENCH_PORT:-18124}
work=$(mktemp -d "${WORK:-/var/tmp}/afforo-growth.XXXXXX")
# shellcheck source=bench/server.sh
. "$here/server.sh"

progress() { echo "growth: $*" >&2; }
place() { # connections seconds [average pause in milliseconds]: orders per second
    DELAY="${3:-0}" load "$1" "$2" -s "$here/order.lua" "http://127.0.0.1:$port"
}
placed() { query -c "select coalesce(sum(orders), 0) from order_tally"; }

# Fills a database with the same catalog and a number of orders.
fill() { # name orders
    progress "filling a database with $2 orders"
    start_server "$work/$1"
    seed --products 1000 --stores 8 --inventory 8000 --orders "$2" >/dev/null
    query -f "$here/prepare.sql" -c "vacuum analyze"
    stop_server
}

# Measures a database: warm up, then each number of connections once.
measure() { # name round
    start_server "$work/$1"
    place 64 5 >/dev/null
    for connections in 64 256; do
        place "$connections" "$seconds" >>"$work/$1-$connections"
        progress "round $2 of $rounds, $1, $connections connections: $(tail -n 1 "$work/$1-$connections") orders/s"
    done
    if [ "$2" = "$rounds" ]; then check; fi
    stop_server
}

# Runs at half of full load, and reports each minute. 64 clients pause at random between orders; after each minute the
# average pause is set by the latency of that minute, so that other work on the machine does not lower the load.
half_load() { # orders per second at full load
    local pause rate
    pause=$(awk -v full="$1" 'BEGIN { print 64 / (full / 2) * 1000 - 1 }')
    for minute in $(seq "$minutes"); do
        rate=$(place 64 60 "$pause")
        echo "$rate" >>half
        progress "minute $minute of $minutes at half load: $rate orders/s, $(placed) orders," \
            "$(query -c "select pg_size_pretty(pg_database_size(current_database()))")"
        pause=$(awk -v full="$1" -v rate="$rate" -v pause="$pause" 'BEGIN {
            next_pause = pause + 64000 / (full / 2) - 64000 / rate
            print (next_pause > 0) ? next_pause : 0
        }')
    done
}

row() { # what file file
    awk -v what="$1" -v first="$(median "$2")" -v then="$(median "$3")" \
        'BEGIN { printf "| %s | %.0f | %.0f | **%.2f** |\n", what, first, then, then / first }'
}

fill empty 0
fill full "$orders"
progress "measuring both in turns"
for round in $(seq "$rounds"); do
    if [ $((round % 2)) -eq 1 ]; then turns="empty full"; else turns="full empty"; fi
    for turn in $turns; do measure "$turn" "$round"; done
done
cd "$work"
rm -rf "$work/full" "$work/empty"

fill hour 0
start_server "$work/hour"
place 64 20 >/dev/null
query -c "vacuum analyze"
progress "the first minute at full load"
place 64 60 >"$work/first"
half_load "$(cat "$work/first")"
progress "the last minute at full load"
place 64 60 >"$work/last"
vacuums=$(query -c "select string_agg(format('%s %s', relname, autovacuum_count), ', ' order by relname)
    from pg_stat_user_tables where autovacuum_count > 0")
total=$(placed)
check

echo "$(machine)."
echo
echo "| orders/s | first | then | ratio |"
echo "|---|---|---|---|"
for connections in 64 256; do
    row "empty, then $orders orders; $connections connections" "$work/empty-$connections" "$work/full-$connections"
done
row "first minute, then after $minutes minutes at half load; 64 connections" "$work/first" "$work/last"
echo
echo "Half load was $(median half) orders/s; in the end there were $total orders. Autovacuum runs: $vacuums."
