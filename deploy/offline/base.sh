#!/bin/sh
# Builds natscope-base:dev with no registry: a minimal Debian with Python, from the distribution's own packages.
#
#   BASE_IMAGE=name  is used instead of building one (it needs Python >= 3.11 and CA certificates); where debootstrap
#                    or root is missing, python:3.12-slim is pulled instead
#   DEBIAN_SUITE     default bookworm (its Python is 3.11)
#   DEBIAN_MIRROR    default: where this machine's apt gets its packages, else debootstrap's own default
set -eu
cd "$(dirname "$0")/../.."
. deploy/offline/say.sh

tag=natscope-base:dev
suite=${DEBIAN_SUITE:-bookworm}
recipe=$(cat "$0" | cksum | cut -d' ' -f1)-$suite
cache=$PWD/build/offline/debs-$suite

export PATH="$PATH:/usr/sbin:/sbin"

use() {
    docker image inspect "$1" >/dev/null 2>&1 || docker pull --quiet "$1" >/dev/null || return 1
    [ "$1" = "$tag" ] || docker tag "$1" "$tag"
    say "$tag is $1"
}

if [ -n "${BASE_IMAGE:-}" ]; then
    use "$BASE_IMAGE" || fail "BASE_IMAGE $BASE_IMAGE is neither here nor in a registry this machine can reach"
    exit 0
fi
if [ "$(docker image inspect --format '{{index .Config.Labels "natscope.recipe"}}' "$tag" 2>/dev/null)" = "$recipe" ]; then
    say "$tag is up to date"
    exit 0
fi
if ! command -v debootstrap >/dev/null || ! as_root true; then
    use python:3.12-slim || fail "no base image: install debootstrap (and be root, or allowed to sudo), or name an image" \
        "with Python 3.11 or newer in BASE_IMAGE="
    exit 0
fi

# shellcheck disable=SC2016  # the dollars are apt's
mirror=${DEBIAN_MIRROR:-$(apt-get indextargets --format '$(REPO_URI) $(LABEL) $(COMPONENT)' 'Created-By: Packages' 2>/dev/null |
    awk '$2 == "Debian" && $3 == "main" { print $1; exit }')}

root=$(mktemp -d "${TMPDIR:-/tmp}/natscope-base.XXXXXX")
trap 'as_root rm -rf --one-file-system "$root"' EXIT INT TERM
mkdir -p "$cache"

say "building $tag: debootstrap $suite (about a minute)"
as_root debootstrap --variant=minbase --cache-dir="$cache" --include=python3,procps,ca-certificates \
    "$suite" "$root" ${mirror:+"$mirror"} >build/offline/debootstrap.log 2>&1 ||
    fail "debootstrap failed; its log is build/offline/debootstrap.log: $(tail -n 3 build/offline/debootstrap.log)"

for bundle in "${SSL_CERT_FILE:-}" "${PIP_CERT:-}" "${REQUESTS_CA_BUNDLE:-}" /etc/ssl/certs/ca-certificates.crt; do
    if [ -s "$bundle" ]; then
        as_root cp "$bundle" "$root/etc/ssl/certs/ca-certificates.crt"
        break
    fi
done

as_root tar -C "$root" --one-file-system -c \
    --exclude=./var/cache/apt/archives/\* --exclude=./var/cache/apt/\*.bin --exclude=./var/lib/apt/lists/\* \
    --exclude=./usr/share/doc/\* --exclude=./usr/share/man/\* --exclude=./usr/share/locale/\* \
    --exclude=./var/log/\*.log --exclude=./proc/\* --exclude=./sys/\* . |
    docker import --change "LABEL natscope.recipe=$recipe" --change 'ENV LANG=C.UTF-8' --change 'CMD ["python3"]' - "$tag" >/dev/null
say "$tag is built ($(docker image inspect --format '{{.Size}}' "$tag" | awk '{ printf "%.0f MB", $1 / 1e6 }'))"
