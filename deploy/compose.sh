#!/bin/sh
# Prints the compose command of this machine: the plugin (v2) where there is one, else docker-compose 1.29.
if docker compose version >/dev/null 2>&1; then
    echo "docker compose"
elif command -v docker-compose >/dev/null 2>&1; then
    echo "docker-compose"
else
    echo "[natscope] error: neither 'docker compose' nor 'docker-compose' is installed" >&2
    echo "false"
fi
