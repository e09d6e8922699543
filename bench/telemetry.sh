#!/usr/bin/env bash
# Measures the cost of metrics and traces for /health/, reading a product and placing orders: without both, with
# METRICS_ADDR, and also with spans for a collector that is not reachable. Prints the medians of ROUNDS (3) rounds of
# SECONDS_EACH (5): requests per second and, in the rows named -cpu, microseconds of the server's CPU time per request.
# It needs wrk.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-5}
port=${BENCH_PORT:-18124}
work=$(mktemp -d /tmp/afforo-bench.XXXXXX)
# shellcheck source=bench/server.sh
. "$here/server.sh"

cpu() { awk '{ sub(/.*\) /, ""); print ($12 + $13) * 10000 }' "/proc/$server/stat"; } # microseconds

measure() { # mode what [wrk options]; records requests per second, and microseconds of CPU time per request
    local before
    before=$(cpu)
    wrk -t1 -c16 -d"${seconds}s" "${@:3}" >wrk
    sed -n 's/^Requests\/sec: *//p' wrk >>"$work/$1-$2"
    awk -v used="$(($(cpu) - before))" '/requests in/ { print used / $1 }' wrk >>"$work/$1-$2-cpu"
}

for round in $(seq "$rounds"); do
    for mode in neither metrics traces; do
        export METRICS_ADDR='' OTEL_EXPORTER_OTLP_ENDPOINT=''
        if [ $mode != neither ]; then METRICS_ADDR=127.0.0.1:0; fi
        if [ $mode = traces ]; then OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:9; fi
        start_server "$work/$mode-$round"
        query -f "$here/prepare.sql"
        measure $mode health "http://127.0.0.1:$port/health/"
        measure $mode product "http://127.0.0.1:$port/api/products/1/"
        measure $mode order -c64 -s "$here/order.lua" "http://127.0.0.1:$port"
        stop_server
        cd "$work"
    done
    echo "bench: round $round of $rounds" >&2
done

echo "| | neither | metrics | ratio | and traces | ratio |"
echo "|---|---|---|---|---|---|"
for what in health product order; do
    for unit in "" -cpu; do
        awk -v what="$what$unit" -v n="$(median "neither-$what$unit")" -v m="$(median "metrics-$what$unit")" \
            -v t="$(median "traces-$what$unit")" \
            'BEGIN { printf "| %s | %.1f | %.1f | %.3f | %.1f | %.3f |\n", what, n, m, m / n, t, t / n }'
    done
done
