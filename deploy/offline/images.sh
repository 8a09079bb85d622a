#!/bin/sh
# Builds every image of the house with no registry: base, sandbox, NATS and the services named. Usage: images.sh <service>...
# Each build gets exactly the files it needs as its context, so an image cannot hold anything else.
set -eu
cd "$(dirname "$0")/../.."
. deploy/offline/say.sh
base=natscope-base:dev

deploy/offline/base.sh
deploy/offline/sandbox.sh

build() { # build <tag> <context paths...> -- <docker build options...>
    tag=$1
    shift
    paths=
    while [ "$1" != -- ]; do
        paths="$paths $1"
        shift
    done
    shift
    before=$(docker image inspect --format '{{.Id}}' "$tag" 2>/dev/null || true)
    # shellcheck disable=SC2086  # the paths are ours and hold no blanks
    tar -c --owner=0 --group=0 --exclude=__pycache__ $paths |
        docker build --quiet --tag "$tag" --build-arg BASE_IMAGE="$base" "$@" - >/dev/null 2>build/offline/build.log ||
        fail "$tag could not be built: $(tail -n 20 build/offline/build.log)"
    after=$(docker image inspect --format '{{.Id}} {{.Size}}' "$tag")
    if [ "$before" = "${after% *}" ]; then say "$tag is up to date"; else
        say "$tag is built ($((${after#* } / 1000000)) MB, $(((${after#* } - base_size) / 1000000)) MB over its base)"
    fi
}

mkdir -p build/offline
base_size=$(docker image inspect --format '{{.Size}}' "$base")
python=$(docker run --rm --network none "$base" python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')

cp -u .venv/bin/nats-server build/offline/nats-server
build natscope-nats:dev deploy/offline/nats.Dockerfile build/offline/nats-server -- --file deploy/offline/nats.Dockerfile
for service in "$@"; do
    room=services/$(echo "$service" | tr - _)
    [ -d "$room" ] || fail "$room is missing"
    deploy/offline/wheels.sh "$service" "$python"
    [ "$service" != tool-executor ] || room="$room sandbox/seccomp.json"
    # shellcheck disable=SC2086  # a room may be two paths
    build "natscope-$service:dev" deploy/Dockerfile deploy/install.sh deploy/healthcheck.py deploy/provision.py \
        "deploy/locks/$service.lock" "build/wheels/$service" shared/natscope $room -- \
        --file deploy/Dockerfile --build-arg SERVICE="$service"
done
