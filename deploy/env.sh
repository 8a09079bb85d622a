#!/bin/sh
# Writes .env from .env.example with random passwords, unless there is one.
set -eu
cd "$(dirname "$0")/.."
. deploy/offline/say.sh
[ -e .env ] && exit 0
umask 077
while IFS= read -r line; do
    case $line in
    *=random) echo "${line%random}p$(od -An -N16 -tx1 /dev/urandom | tr -d ' \n')" ;;
    *) echo "$line" ;;
    esac
done <.env.example >.env
say ".env is written, with passwords of its own"
