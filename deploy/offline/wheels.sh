#!/bin/sh
# Downloads the wheels a service image needs, so that its build touches no network. Usage: wheels.sh <service> <python x.y>
# The host's pip does it, with the host's pip configuration and certificates; every file is checked against the lock.
set -eu
cd "$(dirname "$0")/../.."
. deploy/offline/say.sh
service=$1
python=$2
lock=deploy/locks/$service.lock
wheels=build/wheels/$service
stamp="$(cksum <"$lock") $python"

[ "$(cat "$wheels/.stamp" 2>/dev/null)" = "$stamp" ] && exit 0
say "downloading the wheels of $service for Python $python"
rm -rf "$wheels"
mkdir -p "$wheels"
.venv/bin/python -m pip --disable-pip-version-check --quiet --quiet download --require-hashes --requirement "$lock" \
    --only-binary :all: --python-version "$python" --implementation cp --dest "$wheels" 2>"$wheels/.log" || {
    cat "$wheels/.log" >&2
    fail "the wheels of $service could not be downloaded"
}
cp -R "$(.venv/bin/python -c 'import os, pip; print(os.path.dirname(pip.__file__))')" "$wheels/pip"
find "$wheels/pip" -name __pycache__ -prune -exec rm -rf {} +
rm -f "$wheels/.log"
printf %s "$stamp" >"$wheels/.stamp"
