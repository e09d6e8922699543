#!/usr/bin/env bash
# Measures how many orders a second Afforo places over HTTP, as a ratio to pgbench running one hand-written statement for
# each order on the same tables in the same run. Everything shares this machine: load, Afforo with its worker, PostgreSQL
# with fsync and synchronous_commit on, Redis. Prints a table, as docs/BENCHMARKS.md has it.
#
# ROUNDS (3) and SECONDS_EACH (10) say how long. It needs wrk, and pgbench, which comes with PostgreSQL.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-10}
port=${BENCH_PORT:-18123}
afforo=${AFFORO:-$here/../target/release/afforo}
programs=$("$here/../scripts/install-servers.sh" --postgres-folder)
command -v wrk >/dev/null || { echo "bench: wrk is missing: install it with the system's package manager" >&2; exit 1; }

work=$(mktemp -d /tmp/afforo-bench.XXXXXX)
server=
stop() {
    if [ -n "$server" ]; then
        kill -CONT "$server" 2>/dev/null || true
        kill -INT "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$work"
}
trap stop EXIT

chmod 755 "$work"
cd "$work"
env -u DATABASE_URL -u REDIS_URL RUST_LOG=warn "$afforo" dev "127.0.0.1:$port" >log 2>&1 &
server=$!
for _ in $(seq 150); do
    if grep -q Ctrl-C log; then break; fi
    kill -0 "$server" || { cat log >&2; exit 1; }
    sleep 0.2
done
socket=$(sed -n 's/.*psql -h \([^ ]*\).*/\1/p' log)
query() { "$programs/psql" -h "$socket" -U postgres --no-psqlrc -v ON_ERROR_STOP=1 -qAt afforo "$@"; }

# --- One measurement each; a number of orders a second.

# The server stands still meanwhile: its worker would take from pgbench what it measures. Nothing is owed to these orders.
one_statement() { # script clients
    kill -STOP "$server"
    PGOPTIONS="-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off" \
        "$programs/pgbench" -h "$socket" -U postgres -n -M prepared -c "$2" -j 1 -T "$seconds" -f "$here/$1.sql" afforo \
        2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
    query -c "truncate outbox"
    kill -CONT "$server"
    sleep 1
}

over_http() { # script connections [seconds]; also keeps its latencies
    wrk -t1 -c"$2" -d"${3:-$seconds}s" --latency -s "$here/$1.lua" "http://127.0.0.1:$port" >wrk
    if grep -q "Non-2xx" wrk; then grep "Non-2xx" wrk >&2; exit 1; fi
    sed -n 's/^ *50% *//p' wrk >"p50-$1-$2"
    sed -n 's/^ *99% *//p' wrk >"p99-$1-$2"
    sed -n 's/^Requests\/sec: *//p' wrk
}

median() { sort -g "$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
row() { # what connections script
    local placed baseline
    placed=$(median "http-$3-$2")
    baseline=$(median "statement-$3")
    awk -v what="$1" -v c="$2" -v p="$placed" -v b="$baseline" -v p50="$(cat "p50-$3-$2")" -v p99="$(cat "p99-$3-$2")" \
        'BEGIN { printf "| %s | %s | %.0f | %.0f | **%.2f** | %s / %s |\n", what, c, p, b, p / b, p50, p99 }'
}

# --- The run: stock, a warm-up that leaves the tables populated and analysed, then rounds of all measurements in turn.

query -f "$here/prepare.sql"
over_http order 64 20 >/dev/null
query -c "vacuum analyze"
for round in $(seq "$rounds"); do
    for script in order hot; do
        one_statement "$script" 16 >>"statement-$script"
        for connections in 64 256; do over_http "$script" "$connections" >>"http-$script-$connections"; done
    done
    echo "bench: round $round of $rounds" >&2
done
one_statement order 1 >alone-statement
over_http order 1 >alone-http

# A minute at full load, and how long confirmations take to catch up.
full=$(over_http order 256 60)
began=$(date +%s%N)
while [ "$(query -c "select count(*) from outbox")" != 0 ]; do sleep 0.1; done
behind=$((($(date +%s%N) - began) / 1000000))

books=$(query -c "select count(*) from inventory i where store_id <= 8 and product_id <= 200 and quantity <>
    (select sum(delta) from stock_movement m where m.inventory_id = i.id)")
[ "$books" = 0 ] || { echo "bench: $books stock rows are not what the ledger says" >&2; exit 1; }

echo "$(date -u +%F), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $("$programs/postgres" --version), $rounds rounds of $seconds s, medians."
echo
echo "| orders | connections | Afforo, orders/s | one statement per order, orders/s | ratio | p50 / p99 |"
echo "|---|---|---|---|---|---|"
row "2 items, 200 products, 8 stores" 64 order
row "2 items, 200 products, 8 stores" 256 order
row "1 product of 1 store" 64 hot
row "1 product of 1 store" 256 hot
echo
awk -v statement="$(cat alone-statement)" -v p50="$(cat p50-order-1)" \
    'BEGIN { printf "One order at a time: p50 %s over HTTP; the statement alone %.2f ms on average.\n", p50, 1000 / statement }'
echo "A minute at full load: $full orders/s; every order had its confirmation $behind ms after the last was placed."
echo "Memory of the server at its highest: $(sed -n 's/^VmHWM:[^0-9]*//p' "/proc/$server/status")."
