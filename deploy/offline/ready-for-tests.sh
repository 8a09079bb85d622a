#!/bin/sh
# Builds the images that the Docker tests need, where an engine answers. Tests of every other kind need nothing of it,
# so a missing engine or image is said here and the tests go on: each Docker test then says why it was skipped, or fails.
set -eu
cd "$(dirname "$0")/../.."
. deploy/offline/say.sh

if ! docker info >/dev/null 2>&1; then
    say "no Docker engine answers: tests that need one are skipped"
elif ! deploy/offline/images.sh "$@"; then
    say "the images could not be built (see above): tests that need them will say so"
fi
