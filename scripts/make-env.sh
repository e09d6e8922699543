#!/bin/sh
# Makes the file `.env` that docker-compose.yml wants, with secrets that nobody else has. An `.env` that is there stays
# as it is: the database knows the password in it.
set -eu
cd "$(dirname "$0")/.."

main() {
    if [ -e .env ]; then
        echo ".env is there already, and stays as it is."
        exit
    fi
    # Whoever shares this machine must not read it, at no moment.
    umask 077
    {
        echo "# Made by scripts/make-env.sh. What else can be set here: .env.example"
        echo "SECRET_KEY=$(random)"
        # In hexadecimal digits, because it becomes part of a URL.
        echo "POSTGRES_PASSWORD=$(random)"
    } > .env.new
    mv .env.new .env
    echo "Made .env with new secrets. Next: docker-compose up --build"
}

# 256 random bits in hexadecimal digits.
random() {
    bits=$(od -An -v -tx1 -N32 /dev/urandom | tr -d ' \n')
    [ "${#bits}" -eq 64 ] || { echo "/dev/urandom gave no 32 bytes" >&2; exit 1; }
    echo "$bits"
}

main
