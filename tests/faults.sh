#!/bin/sh
# Runs all scenarios of tests/faults at full size, one after the other, and prints the table of
# their results. FAULTS_SEED is the seed of all random numbers; without it each run picks a new one and prints it.
set -eu
cd "$(dirname "$0")/.."

FAULTS=full
FAULTS_SEED=${FAULTS_SEED:-$(od -An -N4 -tu4 /dev/urandom | tr -d ' ')}
FAULTS_TABLE=$(mktemp)
export FAULTS FAULTS_SEED FAULTS_TABLE
trap 'rm -f "$FAULTS_TABLE"' EXIT
trap 'exit 130' INT TERM

status=0
cargo test --test faults -- --test-threads=1 || status=$?
# Requests that try to exhaust a server, ten times as many as in `make test`.
cargo test --test it abuse:: -- --test-threads=1 || status=$?
echo "FAULTS_SEED=$FAULTS_SEED"
echo
echo '| Fault | Times hit | Requests | Lost | Doubled |'
echo '|---|---:|---:|---:|---:|'
cat "$FAULTS_TABLE"
exit "$status"
