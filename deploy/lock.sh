#!/bin/sh
# Pins every dependency with its hashes: one lock for development, one per service image. Usage: lock.sh <uv> <service>...
# UPGRADE=1 takes newer versions. No lock names a place to download from.
set -eu
cd "$(dirname "$0")/.."
. deploy/offline/say.sh
uv=$1
shift

pin() {
    "$uv" --quiet pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes \
        --no-emit-index-url --no-annotate --no-header "$@"
}

pin --extra dev ${UPGRADE:+--upgrade} --output-file requirements.lock
mkdir -p deploy/locks
for service in "$@"; do
    more=
    [ "$service" = model-gateway ] && more="--extra anthropic --extra gemini" # an image speaks every provider's language
    # shellcheck disable=SC2086
    pin --extra "$service" $more --constraint requirements.lock --upgrade --output-file "deploy/locks/$service.lock"
    say "deploy/locks/$service.lock pins $(grep -c '==' "deploy/locks/$service.lock") packages"
done
