#!/usr/bin/env bash
# Measures two servers that read from a streaming replica on this machine, against two that read from the primary, in
# turns; and how much CPU time of a read each process takes. Prints the tables of docs/BENCHMARKS.md.
#
# ROUNDS (3) and SECONDS_EACH (3) set the duration. It needs wrk.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
rounds=${ROUNDS:-3}
seconds=${SECONDS_EACH:-3}
port=${BENCH_PORT:-18124}
work=$(mktemp -d /tmp/afforo-replica.XXXXXX)
# shellcheck source=bench/server.sh
. "$here/server.sh"
chmod 777 "$work"
cd "$work" || exit

# PostgreSQL does not run as root.
as_server() { if [ "$(id -u)" -eq 0 ]; then su -s /bin/sh postgres -c "cd / && $*"; else sh -c "$*"; fi; }
start_postgres() { # name port
    as_server "'$programs/pg_ctl' -D '$work/$1' -l '$work/$1.log' -s -w start \
        -o '-p $2 -k $work -h 127.0.0.1 -c shared_buffers=256MB -c jit=off'"
}
programs_started=()
stop_all() {
    for program in "${programs_started[@]}"; do kill -INT "$program" 2>/dev/null || true; done
    wait
    for name in replica primary; do as_server "'$programs/pg_ctl' -D '$work/$name' -m immediate -s stop" || true; done
    rm -rf "$work"
}
trap stop_all EXIT

as_server "'$programs/initdb' -D '$work/primary' -U postgres -A trust --locale=C.UTF-8 >/dev/null"
start_postgres primary $((port + 1))
as_server "'$programs/createdb' -h '$work' -p $((port + 1)) -U postgres afforo"
redis-server --port $((port + 3)) --bind 127.0.0.1 --save '' >redis.log &
programs_started+=($!)
primary=postgres://postgres@127.0.0.1:$((port + 1))/afforo
export DATABASE_URL=$primary REDIS_URL=redis://127.0.0.1:$((port + 3))/0 RATE_LIMIT_ENABLED=False API_AUTH=off RUST_LOG=warn \
    DEBUG=False SECRET_KEY=0123456789012345678901234567890123456789
"$afforo" migrate >/dev/null
"$afforo" seed --random-seed 1 --products 500 --stores 4 --orders 200 >/dev/null
as_server "'$programs/pg_basebackup' -h '$work' -p $((port + 1)) -U postgres -D '$work/replica' -R -X stream -c fast"
start_postgres replica $((port + 2))

# Two servers read from the primary, and two from the replica.
serve() { "$afforo" serve "127.0.0.1:$1" >"server-$1.log" 2>&1 & programs_started+=($!); }
for number in 11 12; do serve $((port + number)); done
export DATABASE_REPLICA_URL=postgres://postgres@127.0.0.1:$((port + 2))/afforo
for number in 21 22; do serve $((port + number)); readers="${readers-} $!"; done
for number in 11 12 21 22; do
    until curl -sf "http://127.0.0.1:$((port + number))/health/ready/" >/dev/null; do sleep 0.2; done
done
sleep 2 # until the replica has been asked

# Prints how many requests both servers of a pair answered.
both() { # first server, path
    wrk -t1 -c8 -d"${seconds}s" "http://127.0.0.1:$((port + $1))$2" >one &
    local other=$!
    wrk -t1 -c8 -d"${seconds}s" "http://127.0.0.1:$((port + $1 + 1))$2" >other
    wait "$other"
    if grep "Non-2xx" one other >&2; then exit 1; fi
    awk '/requests in/ { count += $1 } END { print count }' one other
}
# CPU time of processes and their children, also of those that have ended, in clock ticks.
ticks() { # pids
    local pid all=""
    for pid in "$@"; do all="$all $pid $(cat "/proc/$pid/task/$pid/children")"; done
    for pid in $all; do sed 's/.*) //' "/proc/$pid/stat"; done | awk '{ sum += $12 + $13 + $14 + $15 } END { print sum }'
}
postmaster() { head -n 1 "$work/$1/postmaster.pid"; }

echo "$(machine), $rounds rounds of $seconds s, medians."
echo
echo "| read | from the primary | from the replica | ratio | µs of CPU: servers | primary | replica |"
echo "|---|---:|---:|---:|---:|---:|---:|"
for path in /api/products/1/ /api/products/ /api/orders/ /api/orders/stats/; do
    name=$(tr / - <<<"$path")
    for pair in 11 21; do both "$pair" "$path" >/dev/null; done
    for round in $(seq "$rounds"); do
        if [ $((round % 2)) -eq 1 ]; then turns="11 21"; else turns="21 11"; fi
        for pair in $turns; do
            # shellcheck disable=SC2086
            before=("$(ticks $readers)" "$(ticks "$(postmaster primary)")" "$(ticks "$(postmaster replica)")")
            both "$pair" "$path" >>"$pair$name"
            [ "$pair" = 21 ] || continue
            count=$(tail -n 1 "21$name")
            # shellcheck disable=SC2086
            after=("$(ticks $readers)" "$(ticks "$(postmaster primary)")" "$(ticks "$(postmaster replica)")")
            for which in 0 1 2; do
                awk -v ticks=$((after[which] - before[which])) -v hertz="$(getconf CLK_TCK)" -v count="$count" \
                    'BEGIN { print ticks / hertz * 1000000 / count }' >>"cpu-$which$name"
            done
        done
    done
    awk -v path="$path" -v seconds="$seconds" -v primary="$(median "11$name")" -v replica="$(median "21$name")" \
        -v servers="$(median "cpu-0$name")" -v first="$(median "cpu-1$name")" -v second="$(median "cpu-2$name")" \
        'BEGIN { printf "| `%s` | %.0f | %.0f | **%.2f** | %.0f | %.0f | %.0f |\n", path, primary / seconds,
            replica / seconds, replica / primary, servers, first, second }'
done
