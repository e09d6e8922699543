#!/usr/bin/env bash
# Measures the orders per second that Afforo places over HTTP, relative to pgbench running one hand-written statement
# per order on the same tables in the same run. Also measures the latency of an order, alone and at half load. The load
# generator, Afforo with its worker, PostgreSQL (fsync and synchronous_commit on) and Redis run on this machine. Prints
# the tables of docs/BENCHMARKS.md.
#
# ROUNDS (3) and SECONDS_EACH (10) set the duration. It needs wrk, and pgbench, which is part of PostgreSQL.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-10}
port=${BENCH_PORT:-18123}
work=$(mktemp -d /tmp/afforo-bench.XXXXXX)
# shellcheck source=bench/server.sh
. "$here/server.sh"
start_server "$work/server"

# --- Measurements. Each prints orders per second.

# Pauses the server, because its worker would slow down pgbench. Confirms the orders of pgbench afterwards.
one_statement() { # script clients [pgbench options]
    kill -STOP "$server"
    PGOPTIONS="-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off" \
        "$programs/pgbench" -h "$socket" -U postgres -n -M prepared -j 1 -T "$seconds" -c "$2" "${@:3}" -f "$here/$1.sql" \
        afforo 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
    query -c "insert into order_confirmation select unnest(order_ids) from outbox" -c "truncate outbox"
    kill -CONT "$server"
    sleep 1
}

# The same with the counter triggers disabled, which is less work than Afforo does. Updates the counters afterwards.
one_statement_without_counters() { # script clients
    local last
    last=$(query -c "select max(id) from orders")
    query -c "alter table orders disable trigger user; alter table inventory disable trigger user"
    one_statement "$1" "$2"
    query -c "alter table orders enable trigger user; alter table inventory enable trigger user"
    query -c "insert into order_tally select store_id, status, count(*), sum(total_amount) from orders where id > $last
        group by store_id, status"
}

over_http() { # script connections [seconds [average pause in milliseconds]]; also records latencies
    DELAY="${4:-0}" load "$2" "${3:-$seconds}" --latency -s "$here/$1.lua" "http://127.0.0.1:$port"
    sed -n 's/^ *50% *//p' "$work/wrk" >"p50-$1-$2"
    sed -n 's/^ *99% *//p' "$work/wrk" >"p99-$1-$2"
}

row() { # what connections script
    awk -v what="$1" -v c="$2" -v p="$(median "http-$3-$2")" -v b="$(median "statement-$3")" -v w="$(median "plain-$3")" \
        -v p50="$(cat "p50-$3-$2")" -v p99="$(cat "p99-$3-$2")" \
        'BEGIN { printf "| %s | %s | %.0f | %.0f | **%.2f** | %.0f | %.2f | %s / %s |\n", what, c, p, b, p / b, w, p / w, p50, p99 }'
}

# --- The run: set stock, warm up so that the tables have rows and statistics, then run rounds of all measurements.

query -f "$here/prepare.sql"
over_http order 64 20 >/dev/null
query -c "vacuum analyze"
for round in $(seq "$rounds"); do
    for script in order hot; do
        one_statement "$script" 16 >>"statement-$script"
        one_statement_without_counters "$script" 16 >>"plain-$script"
        for connections in 64 256; do over_http "$script" "$connections" >>"http-$script-$connections"; done
    done
    cp p99-order-256 without
    KEYS="round-$round" over_http order 256 >>http-keyed
    cp without p99-order-256
    echo "bench: round $round of $rounds" >&2
done

# One order at a time: over HTTP and as a statement; and a request without database access.
one_statement order 1 --log --log-prefix=latency >alone-statement
cut -d ' ' -f 3 latency.* >statement-latencies
over_http order 1 >alone-http
wrk -t1 -c1 -d"${seconds}s" --latency "http://127.0.0.1:$port/health/" | sed -n 's/^ *50% *//p' >p50-health

# Half load: 64 clients with random pauses, whose average halves their throughput.
pause=$(awk -v full="$(median http-order-64)" 'BEGIN { print 64 / (full / 2) * 1000 - 1 }')
cp p50-order-64 full-p50-order-64
cp p99-order-64 full-p99-order-64
over_http order 64 "$((seconds * 2))" "$pause" >half
mv p50-order-64 p50-half
mv p99-order-64 p99-half
mv full-p50-order-64 p50-order-64
mv full-p99-order-64 p99-order-64

# A minute at full load, then the time until all orders are confirmed.
full=$(over_http order 256 60)
began=$(date +%s%N)
while [ "$(query -c "select count(*) from outbox")" != 0 ]; do sleep 0.1; done
behind=$((($(date +%s%N) - began) / 1000000))
check

echo "$(machine), $rounds rounds of $seconds s, medians."
echo
echo "| orders | connections | Afforo, orders/s | one statement per order, orders/s | ratio | without counters, orders/s | ratio | p50 / p99 |"
echo "|---|---|---|---|---|---|---|---|"
row "2 items, 200 products, 8 stores" 64 order
row "2 items, 200 products, 8 stores" 256 order
row "1 product of 1 store" 64 hot
row "1 product of 1 store" 256 hot
echo
echo "One order at a time: p50 $(cat p50-order-1) over HTTP; the statement alone $(median statement-latencies)us; an HTTP response without database access $(cat p50-health)."
awk -v keyed="$(median http-keyed)" -v bare="$(median http-order-256)" \
    'BEGIN { printf "Orders with an Idempotency-Key: %.0f orders/s, %.2f of the rate without.\n", keyed, keyed / bare }'
echo "Half load: $(cat half) orders/s, p50 $(cat p50-half), p99 $(cat p99-half)."
echo "A minute at full load: $full orders/s; all orders were confirmed $behind ms after the last was placed."
echo "Peak memory of the server: $(sed -n 's/^VmHWM:[^0-9]*//p' "/proc/$server/status"). \`afforo check\` found no inconsistency."
