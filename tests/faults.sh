#!/bin/sh
# Runs all scenarios of tests/faults at full size, one after the other, and prints the table of what they did and what came
# of it. FAULTS_SEED is what all randomness is made of; without it there is a new one each time, which is printed.
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
# What strangers send to exhaust a server, ten times as much as in `make test`.
cargo test --test it abuse:: -- --test-threads=1 || status=$?
echo "FAULTS_SEED=$FAULTS_SEED"
echo
echo '| Fault | Times hit | Requests | Lost | Doubled |'
echo '|---|---:|---:|---:|---:|'
cat "$FAULTS_TABLE"
exit "$status"
