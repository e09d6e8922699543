#!/usr/bin/env bash
# Measures adjustments of 1,000 stock rows: their time alone, and what one each second costs orders of the same store. Prints
# the table of docs/BENCHMARKS.md.
#
# ROUNDS (3) and SECONDS_EACH (20) set the duration. It needs wrk.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-20}
port=${BENCH_PORT:-18124}
url=http://127.0.0.1:$port
work=$(mktemp -d /tmp/afforo-adjustments.XXXXXX)
# shellcheck source=bench/server.sh
. "$here/server.sh"
start_server "$work/server"
seed --products 1000 --stores 8 --inventory 8000 --orders 0 >/dev/null
query -f "$here/prepare.sql" -c "vacuum analyze" >/dev/null

# Two bodies, so that quantities stay the same in the long run.
for delta in 1 -1; do
    query -c "select json_build_object('reason_code', 'OTHER', 'adjustments', json_agg(json_build_object('inventory_id', id, 'delta', $delta)))
        from inventory where store_id = 1" >"body$delta"
done
adjust() { # delta: milliseconds
    curl -s -o answer -w '%{http_code} %{time_total}\n' -H 'content-type: application/json' -d "@body$1" \
        "$url/api/inventory/adjustments/" | awk '$1 != 200 { exit 1 } { print $2 * 1000 }' || { cat answer >&2; exit 1; }
}
# Adjusts once a second until the load has ended.
adjust_each_second() {
    while [ -e loaded ]; do
        for delta in 1 -1; do
            sleep 1
            adjust "$delta" >>beside
        done
    done
}
# Orders of one store at about half of full load: their p99.9 in milliseconds.
place() {
    STORE=1 DELAY=20 load 64 "$seconds" -s "$here/order.lua" "$url" >/dev/null
    sed -n 's/^p99.9: //p' "$work/wrk"
}

place >/dev/null
for _ in $(seq 25); do
    for delta in 1 -1; do adjust "$delta" >>alone; done
done
for _ in $(seq "$rounds"); do
    place >>orders-alone
    touch loaded
    adjust_each_second &
    place >>orders-beside
    rm loaded
    wait $!
done
check
echo "$(machine), $rounds rounds of $seconds s, medians."
echo
echo "| milliseconds | alone | together |"
echo "|---|---:|---:|"
printf '| adjustment of 1,000 rows | %.1f | %.1f |\n' "$(median alone)" "$(median beside)"
printf '| orders of the same store, p99.9 | %.1f | %.1f |\n' "$(median orders-alone)" "$(median orders-beside)"
