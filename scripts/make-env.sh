#!/bin/sh
# Puts the secrets that docker-compose.yml wants into the file `.env`, each one new and known to nobody else. A secret
# that is there already stays as it is: the database knows the password.
set -eu
cd "$(dirname "$0")/.."
# Whoever shares this machine must not read it, at no moment.
umask 077

main() {
    [ -e .env ] || echo "# Secrets of this installation. What else can be set here: .env.example" > .env
    fill SECRET_KEY
    fill POSTGRES_PASSWORD
}

fill() {
    value=$(sed -n "s/^$1=//p" .env | tail -n 1)
    # What the example says is no secret.
    if [ -n "$value" ] && [ "$value" != change-me ]; then
        echo "$1 is in .env already."
        return
    fi
    secret=$(random)
    others=$(grep -v "^$1=" .env || true)
    chmod go-rwx .env
    printf '%s\n%s=%s\n' "$others" "$1" "$secret" > .env
    echo "$1 is now in .env."
}

# 256 random bits, in hexadecimal digits because the password becomes part of a URL.
random() {
    bits=$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')
    [ "${#bits}" -eq 64 ] || { echo "/dev/urandom gave no 32 bytes" >&2; exit 1; }
    echo "$bits"
}

main
