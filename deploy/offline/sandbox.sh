#!/bin/sh
# Builds natscope-sandbox:dev, the cell that foreign code runs in, on BASE_IMAGE or on the base built here.
set -eu
cd "$(dirname "$0")/../.."
. deploy/offline/say.sh
tag=natscope-sandbox:dev

deploy/offline/base.sh
[ -f sandbox/Dockerfile ] || fail "sandbox/Dockerfile is missing"
mkdir -p build/offline
before=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null || true)
tar -C sandbox -c --owner=0 --group=0 --exclude=__pycache__ . |
    docker build --quiet --tag "$tag" --build-arg BASE_IMAGE=natscope-base:dev - >/dev/null 2>build/offline/build.log ||
    fail "$tag could not be built: $(tail -n 20 build/offline/build.log)"
after=$(docker image inspect --format '{{.Id}}' "$tag")
if [ "$before" = "$after" ]; then say "$tag is up to date"; else say "$tag is built"; fi
