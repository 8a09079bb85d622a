#!/bin/sh
# Runs inside an image build: installs what a lock pins into a folder. Usage: install.sh <lock> <folder>
# Wheels lying beside this script are used, and nothing else then; without any, pip's own configuration decides.
set -eu
here=$(dirname "$0")
set -- "$2" --require-hashes --requirement "$1"
if ls "$here"/*.whl >/dev/null 2>&1; then
    export PYTHONPATH="$here"
    set -- "$@" --no-index --find-links "$here"
fi
# pip trusts what the image trusts, which may be more than pip's own list: a company's proxy, for one.
[ -e /etc/ssl/certs/ca-certificates.crt ] && export PIP_CERT="${PIP_CERT:-/etc/ssl/certs/ca-certificates.crt}"
exec python3 -m pip install --quiet --disable-pip-version-check --no-cache-dir --root-user-action=ignore --target "$@"
