#!/usr/bin/env bash
# Measures whether orders per second fall as tables grow: at ten million orders, and after an hour at half of full load,
# autovacuum included, each relative to an empty database and in turns with it. Prints the table of docs/BENCHMARKS.md.
#
# ORDERS (10000000), ROUNDS (3), SECONDS_EACH (10) and MINUTES (60) set the size; a size of 0 leaves its part out. It
# needs wrk, and about 25 GB in WORK (/var/tmp).
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

# Measures two databases in turns: warm up, then each number of connections once. `check` ends the last round.
compare() { # name name
    local turn turns connections round
    for round in $(seq "$rounds"); do
        if [ $((round % 2)) -eq 1 ]; then turns="$1 $2"; else turns="$2 $1"; fi
        for turn in $turns; do
            start_server "$work/$turn"
            place 64 5 >/dev/null
            for connections in 64 256; do
                place "$connections" "$seconds" >>"$work/$turn-$connections"
                progress "round $round of $rounds, $turn, $connections connections:" \
                    "$(tail -n 1 "$work/$turn-$connections") orders/s"
            done
            if [ "$round" = "$rounds" ]; then check; fi
            stop_server
        done
    done
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

rows() { # what name name
    for connections in 64 256; do
        awk -v what="$1; $connections connections" -v first="$(median "$work/$2-$connections")" \
            -v then="$(median "$work/$3-$connections")" \
            'BEGIN { printf "| %s | %.0f | %.0f | **%.2f** |\n", what, first, then, then / first }'
    done
}

table="| orders/s | empty | then | ratio |
|---|---|---|---|"
if [ "$orders" -gt 0 ]; then
    fill empty 0
    fill full "$orders"
    compare empty full
    table+=$'\n'$(rows "$orders orders" empty full)
    cd "$work"
    rm -rf "$work/full" "$work/empty"
fi

if [ "$minutes" -gt 0 ]; then
    fill hour 0
    start_server "$work/hour"
    place 64 20 >/dev/null
    query -c "vacuum analyze"
    progress "full load for a minute"
    full=$(place 64 60)
    half_load "$full"
    vacuums=$(query -c "select string_agg(format('%s %s', relname, autovacuum_count), ', ' order by relname)
        from pg_stat_user_tables where autovacuum_count > 0")
    total=$(placed)
    stop_server
    fill fresh 0
    compare fresh hour
    table+=$'\n'$(rows "$minutes minutes at half load" fresh hour)
fi

echo "$(machine), $rounds rounds of $seconds s, medians."
echo
echo "$table"
if [ "$minutes" -gt 0 ]; then
    echo
    echo "Half load was $(median "$work/hour/half") orders/s; after it there were $total orders. Autovacuum runs: $vacuums."
fi
