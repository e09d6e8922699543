#!/usr/bin/env bash
# Measures reads per second of Afforo over HTTP, relative to pgbench reading the same rows by one prepared statement of
# the same server, in turns, with the worker running. Also measures placement. Prints the table of docs/BENCHMARKS.md.
#
#     bench/reads.sh [BINARY ...]
#
# Several binaries are measured in alternating rounds; the default is target/release/afforo. ROUNDS (3), SECONDS_EACH (5)
# and CONNECTIONS ("16 64") set the duration. It needs wrk, and pgbench, which is part of PostgreSQL.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
connections=${CONNECTIONS:-16 64}
port=${BENCH_PORT:-18125}
work=$(mktemp -d /tmp/afforo-reads.XXXXXX)
# shellcheck source=bench/server.sh
. "$here/server.sh"
binaries=()
for binary in "${@:-$afforo}"; do binaries+=("$(realpath "$binary")"); done

# The reads. bench/reads/NAME.sql, where it exists, reads the same rows.
reads="product products order_detail orders stock_row inventory search autocomplete stats"
path_of() {
    case $1 in
        product) echo /api/products/1/ ;;
        order_detail) echo /api/orders/1/ ;;
        stock_row) echo /api/inventory/1/ ;;
        search) echo '/api/products/search/?q=kettle' ;;
        autocomplete) echo '/api/products/autocomplete/?q=cla' ;;
        stats) echo /api/orders/stats/ ;;
        *) echo "/api/$1/" ;;
    esac
}

# Requests per second over HTTP.
over_http() { # connections path [wrk options]
    load "$1" "$seconds" "${@:3}" "http://127.0.0.1:$port$2"
}

# Statements per second of pgbench.
statement() { # name clients
    PGOPTIONS="-c jit=off" "$programs/pgbench" -h "$socket" -U postgres -n -M prepared -j 1 -T "$seconds" -c "$2" \
        -f "$here/reads/$1.sql" afforo 2>/dev/null | sed -n 's/^tps = \([0-9.]*\).*/\1/p'
}

# One build: a new server with demo data, then each figure once.
measure() { # number round
    afforo=${binaries[$1]}
    start_server "$work/$1-$2"
    RUST_LOG=warn "$afforo" seed --products 10000 --stores 12 --orders 20000 --random-seed 1 \
        --database-url "$database_url" >/dev/null 2>&1
    query -f "$here/prepare.sql" >/dev/null
    over_http 64 /api/orders/ -s "$here/order.lua" >/dev/null
    query -c "vacuum analyze" >/dev/null
    for count in $connections; do
        for name in $reads; do
            over_http "$count" "$(path_of "$name")" >>"$work/http-$name-$count-$1"
            if [ -f "$here/reads/$name.sql" ]; then
                statement "$name" "$count" >>"$work/statement-$name-$count"
            fi
        done
        over_http "$count" /api/orders/ -s "$here/order.lua" >>"$work/http-order-$count-$1"
    done
    cd "$work"
    stop_server
}

last=$((${#binaries[@]} - 1))
for round in $(seq "$rounds"); do
    turns=$(seq 0 "$last")
    if [ $((round % 2)) -eq 0 ]; then turns=$(seq "$last" -1 0); fi
    for turn in $turns; do measure "$turn" "$round"; done
    echo "reads: round $round of $rounds" >&2
done

echo "$(date -u +%F), $(nproc) cores, $rounds rounds of $seconds s, medians, requests per second."
echo
echo "| read | connections | pgbench |$(for i in $(seq 0 "$last"); do printf ' %s | ratio |' "$(basename "${binaries[$i]}")"; done)"
echo "|---|---:|---:|$(for _ in "${binaries[@]}"; do printf -- '---:|---:|'; done)"
for count in $connections; do
    for name in $reads order; do
        base=
        if [ -f "$work/statement-$name-$count" ]; then base=$(median "$work/statement-$name-$count"); fi
        printf '| %s | %s | %s |' "$name" "$count" "${base%.*}"
        for i in $(seq 0 "$last"); do
            awk -v r="$(median "$work/http-$name-$count-$i")" -v b="${base:-0}" \
                'BEGIN { printf " %.0f | %s |", r, (b > 0) ? sprintf("**%.2f**", r / b) : "" }'
        done
        echo
    done
done
