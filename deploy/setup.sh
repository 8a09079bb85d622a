#!/bin/sh
# Creates the virtual environment and installs exactly what requirements.lock pins. Usage: setup.sh <venv>
set -eu
cd "$(dirname "$0")/.."
. deploy/offline/say.sh
venv=$1

find_python() {
    for candidate in ${PYTHON:-} python3.13 python3.12 python3.11 python3; do
        if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then
            echo "$candidate"
            return
        fi
    done
}

if ! "$venv/bin/python" -c 'import pip' >/dev/null 2>&1; then
    python=$(find_python)
    [ -n "$python" ] || fail "Python 3.11 or newer is needed and was not found: install it, or name it with PYTHON=/path/to/python3"
    "$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
        fail "$python cannot create virtual environments: install its venv module (Debian: apt-get install python3-venv)"
    say "creating $venv with $("$python" --version)"
    rm -rf "$venv"
    "$python" -m venv "$venv"
fi
say "installing what requirements.lock pins"
pip="$venv/bin/python -m pip --disable-pip-version-check --quiet --quiet"
$pip install --require-hashes --requirement requirements.lock || fail "the pinned dependencies could not be installed (see above)"
$pip install --no-deps --no-build-isolation --no-index --editable . || fail "the project itself could not be installed (see above)"
