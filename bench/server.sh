# Starts and stops the server of a benchmark, with its own PostgreSQL and Redis. Source this file; it uses $here, $port
# and $work, a folder that it deletes at exit.
# shellcheck shell=bash disable=SC2154
afforo=${AFFORO:-$here/../target/release/afforo}
programs=$("$here/../scripts/install-servers.sh" --postgres-folder)
command -v wrk >/dev/null || { echo "bench: wrk is not installed: install it with the system's package manager" >&2; exit 1; }

server=
stop_server() {
    if [ -n "$server" ]; then
        kill -CONT "$server" 2>/dev/null || true
        kill -INT "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
        server=
    fi
}
trap 'stop_server; rm -rf "$work"' EXIT
chmod 755 "$work"

# Starts the server with the data in a folder, which may be new, and changes to that folder.
start_server() { # folder
    mkdir -p "$1"
    cd "$1"
    env -u DATABASE_URL -u REDIS_URL RUST_LOG=warn RATE_LIMIT_ENABLED=False "$afforo" dev "127.0.0.1:$port" >log 2>&1 &
    server=$!
    for _ in $(seq 150); do
        if grep -q Ctrl-C log; then break; fi
        kill -0 "$server" || { cat log >&2; exit 1; }
        sleep 0.2
    done
    socket=$(sed -n 's/.*psql -h \([^ ]*\).*/\1/p' log)
    # For the commands of Afforo.
    # shellcheck disable=SC2034
    database_url=postgres://postgres@${socket//\//%2F}/afforo
}
query() { "$programs/psql" -h "$socket" -U postgres --no-psqlrc -v ON_ERROR_STOP=1 -qAt afforo "$@"; }

# Replaces the demo data. Ids start at 1, other than after `afforo seed --clear`. Builds of before have fewer tables.
seed() { # options of `afforo seed`
    local tables="category product product_code store inventory stock_movement movement_count movement_reversal orders order_item
        order_line_progress order_document transfer transfer_line stock_count stock_count_line stock_count_entry reservation reservation_item order_confirmation outbox delivery idempotency_key daily_order_report"
    query -c "do \$\$ begin
        execute (select format('truncate %s restart identity', string_agg(name, ', '))
            from regexp_split_to_table('$tables', '\s+') name where to_regclass(name) is not null);
    end \$\$"
    RUST_LOG=warn "$afforo" seed --random-seed 1 "$@" --database-url "$database_url"
}
check() { RUST_LOG=warn "$afforo" check --database-url "$database_url" >checked || { cat checked >&2; exit 1; }; }

# Runs wrk for some seconds, and prints requests per second. Ends if a request fails. $work/wrk has the output.
load() { # connections seconds [wrk options] url
    wrk -t1 -c"$1" -d"$2s" "${@:3}" >"$work/wrk"
    if grep -q "Non-2xx" "$work/wrk"; then cat "$work/wrk" >&2; exit 1; fi
    sed -n 's/^Requests\/sec: *//p' "$work/wrk"
}

median() { sort -g "$1" | awk '{ all[NR] = $1 } END { print all[int((NR + 1) / 2)] }'; }
machine() { echo "$(date -u +%F), $(nproc) cores, $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1), $("$programs/postgres" --version)"; }
