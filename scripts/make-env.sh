#!/bin/sh
# Writes new random values for the secrets of docker-compose.yml to the file `.env`. It keeps existing secrets, because
# an existing database has the password already.
set -eu
cd "$(dirname "$0")/.."
# Other users of this machine must not be able to read the file, not even while it is written.
umask 077

main() {
    [ -e .env ] || echo "# Secrets of this installation. See .env.example for other settings." > .env
    fill SECRET_KEY
    fill POSTGRES_PASSWORD
}

fill() {
    value=$(sed -n "s/^$1=//p" .env | tail -n 1)
    # The placeholder of .env.example is public.
    if [ -n "$value" ] && [ "$value" != change-me ]; then
        echo "$1 is already in .env."
        return
    fi
    secret=$(random)
    others=$(grep -v "^$1=" .env || true)
    chmod go-rwx .env
    printf '%s\n%s=%s\n' "$others" "$1" "$secret" > .env
    echo "$1 added to .env."
}

# 256 random bits in hexadecimal, because the password becomes part of a URL.
random() {
    bits=$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')
    [ "${#bits}" -eq 64 ] || { echo "make-env: cannot read 32 bytes from /dev/urandom" >&2; exit 1; }
    echo "$bits"
}

main
