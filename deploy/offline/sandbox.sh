#!/bin/sh
# Builds natscope-sandbox:dev, the cell that foreign code runs in, on BASE_IMAGE or on the base built here. With
# PACKAGES="numpy pandas" it builds natscope-sandbox:packages on top (TAG= names another): the host's pip gets the wheels
# for the image's Python, with the host's configuration and certificates, so the build itself touches no network.
set -eu
cd "$(dirname "$0")/../.."
. deploy/offline/say.sh
log=build/offline/build.log

image() { # image <tag> <docker build options...>   its context comes as a tar on standard input
    tag=$1
    shift
    before=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null || true)
    docker build --quiet --tag "$tag" "$@" - >/dev/null 2>$log || fail "$tag could not be built: $(tail -n 20 $log)"
    after=$(docker image inspect --format '{{.Id}}' "$tag")
    if [ "$before" = "$after" ]; then say "$tag is up to date"; else say "$tag is built"; fi
}

deploy/offline/base.sh
[ -f sandbox/Dockerfile ] || fail "sandbox/Dockerfile is missing"
mkdir -p build/offline
tar -C sandbox -c --owner=0 --group=0 --exclude=__pycache__ . | image natscope-sandbox:dev --build-arg BASE_IMAGE=natscope-base:dev
[ -n "${PACKAGES:-}" ] || exit 0

python=$(docker run --rm --network none --entrypoint python3 natscope-sandbox:dev \
    -c 'import sys; print("%d.%d" % sys.version_info[:2])')
packages=$(mktemp -d "$PWD/build/offline/packages.XXXXXX")
trap 'rm -rf "$packages"' EXIT INT TERM
say "getting $PACKAGES for Python $python"
# shellcheck disable=SC2086  # several packages are several words
.venv/bin/python -m pip --disable-pip-version-check --quiet --quiet install --target "$packages/packages" \
    --only-binary :all: --python-version "$python" --implementation cp --no-compile $PACKAGES 2>$log ||
    fail "the packages could not be had: $(tail -n 20 $log)"
cp sandbox/packages.Dockerfile "$packages/Dockerfile"
tar -C "$packages" -c --owner=0 --group=0 . | image "${TAG:-natscope-sandbox:packages}" --build-arg CELL_IMAGE=natscope-sandbox:dev
