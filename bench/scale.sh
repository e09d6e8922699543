#!/usr/bin/env bash
# Measures the median latency of each request at 1,000,000 products, 200 stores, 10,000,000 stock rows and 10,000,000
# orders, and at a tenth of it, with one client. Prints the table of docs/BENCHMARKS.md.
#
# SIZES ("10 1") sets the divisors of the full size, and SECONDS_EACH (3) the duration of each measurement. It needs
# wrk, and about 15 GB in WORK (/var/tmp).
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
sizes=${SIZES:-10 1}
seconds=${SECONDS_EACH:-3}
port=${BENCH_PORT:-18124}
work=$(mktemp -d "${WORK:-/var/tmp}/afforo-scale.XXXXXX")
# shellcheck source=bench/server.sh
. "$here/server.sh"

median() { # path: in milliseconds
    REQUEST=$1 wrk -t1 -c1 -d"${seconds}s" --timeout 30s --latency -s "$here/request.lua" "http://127.0.0.1:$port" >wrk
    if grep -q "Non-2xx" wrk; then echo "bench: $1: $(grep Non-2xx wrk)" >&2; exit 1; fi
    # If no request finished in that time, measure a single one.
    grep -q " 0 requests in" wrk && { curl -s -o /dev/null -w '%{time_total}\n' "http://127.0.0.1:$port$1" | awk '{ print $1 * 1000 }'; return; }
    in_milliseconds "$(sed -n 's/^ *50% *//p' wrk)"
}
in_milliseconds() { awk -v t="$1" 'BEGIN { print t ~ /us$/ ? t / 1000 : t ~ /ms$/ ? t + 0 : t * 1000 }'; }

measure() { # divisor of the full size
    export PRODUCTS=$((1000000 / $1)) STORES=$((200 / $1)) ROWS=$((10000000 / $1)) ORDERS=$((10000000 / $1))
    start_server "$work/$1"
    seed --products "$PRODUCTS" --stores "$STORES" --inventory "$ROWS" --orders "$ORDERS" >seeded
    # Add words that the demo data does not contain: one to every 20th product, and one to every 100,000th.
    query -c "update product set description = description || ' bargain' where id % 20 = 7"
    query -c "update product set description = description || ' zyzzyva' where id % 100000 = 77"
    query -f "$here/prepare.sql" -c "vacuum analyze"
    local middle
    middle=$(query -c "select json_build_array(1, 'products', json_build_array(title, id)) from product where is_active
        order by title, id limit 1 offset $((PRODUCTS / 2))" | tr -d ' \n' | base64 -w 0 | tr '+/' '-_' | tr -d '=')
    echo "seed: $(cat seeded)" >"$work/seed-$1"
    while IFS= read -r line; do
        case $line in '#'* | '') continue ;; esac
        name=$(sed 's/  *\/api.*//' <<<"$line")
        path=/api${line#*/api}
        printf '%s\t%s\n' "$name" "$(median "${path//\{middle\}/$middle}")"
    done <"$here/requests.txt" >"$work/medians-$1"
    load 1 "$seconds" --latency -s "$here/order.lua" "http://127.0.0.1:$port" >/dev/null
    printf '%s\t%s\n' "placing an order" "$(in_milliseconds "$(sed -n 's/^ *50% *//p' "$work/wrk")")" >>"$work/medians-$1"
    check
    stop_server
    cd "$work"
    rm -rf "${work:?}/$1"
}

for size in $sizes; do measure "$size"; done
echo "$(machine)."
for size in $sizes; do echo "1/$size: $(cat "$work/seed-$size")"; done
echo
set -- $sizes
awk -F '\t' -v small="$1" -v large="${2:-$1}" '
    NR == FNR { first[$1] = $2; next }
    FNR == 1 { printf "| p50 in ms | at 1/%s | at 1/%s | ratio |\n|---|---|---|---|\n", small, large }
    { printf "| %s | %.2f | %.2f | %.2f |\n", $1, first[$1], $2, $2 / first[$1] }
' "$work/medians-$1" "$work/medians-${2:-$1}"
