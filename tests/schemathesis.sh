#!/bin/sh
# Sends requests that schemathesis (from PyPI) makes of the OpenAPI document, valid ones and others, to a server of its own:
# no answer may be a failure, and all have to be as the document says. What is checked is in schemathesis.toml beside this.
#
# FUZZ_SECONDS is how long it goes on for (120), FUZZ_SEED what the requests are made of; the seed is printed.
set -eu
cd "$(dirname "$0")/.."

folder=$(mktemp -d)
server=
clean_up() {
    if [ -n "$server" ]; then
        kill "$server" 2>/dev/null || true
        wait "$server" || true
    fi
    rm -rf "$folder"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check schemathesis==4.32.5

cargo build
program=${CARGO_TARGET_DIR:-$PWD/target}/debug/afforo
# Elsewhere, so that no `.env` counts; and without a limit, because no client of schemathesis' would wait.
(cd "$folder" && RATE_LIMIT_ENABLED=False exec env -u DATABASE_URL -u REDIS_URL \
    "$program" dev --ephemeral 127.0.0.1:0 >"$folder/log" 2>&1) &
server=$!
until grep -q 'listening on' "$folder/log"; do
    kill -0 "$server" 2>/dev/null || { cat "$folder/log"; exit 1; }
    sleep 0.2
done
address=$(sed -n 's/.*listening on //p' "$folder/log")

seed=${FUZZ_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
echo "FUZZ_SEED=$seed FUZZ_SECONDS=${FUZZ_SECONDS:-120}"
status=0
"$folder/venv/bin/schemathesis" --config-file tests/schemathesis.toml run "$address/api/openapi.json" \
    --seed "$seed" --max-time "${FUZZ_SECONDS:-120}" || status=$?
if grep -E 'panicked|a request failed' "$folder/log"; then
    exit 1
fi
exit "$status"
