#!/bin/sh
# Waits until every container of the house is healthy, then says where everything is. Usage: wait.sh <compose command...>
# Patience is 120 seconds (WAIT_S=); what is not healthy then is named, with the end of its log.
set -eu
cd "$(dirname "$0")/.."
. deploy/offline/say.sh

waiting() { # names the services that are neither running and healthy nor, like provision, done
    docker ps --all --quiet --filter "label=com.docker.compose.project=$COMPOSE_PROJECT_NAME" |
        xargs docker inspect --format '{{index .Config.Labels "com.docker.compose.service"}} {{.State.Status}} {{if .State.Health}}{{.State.Health.Status}}{{else}}{{.State.ExitCode}}{{end}}' |
        awk '!($2 == "running" && ($3 == "healthy" || $3 == 0)) && !($2 == "exited" && $3 == 0) { print $1 }'
}

port_of() {
    name=$1
    inner=$2
    shift 2
    "$@" port "$name" "$inner" 2>/dev/null || true
}

readable() { # the services log in JSON; where there is no Python it stays so
    if command -v python3 >/dev/null 2>&1; then python3 deploy/readable.py; else cat; fi
}

give_up=$(($(date +%s) + ${WAIT_S:-120}))
say "waiting until every container is healthy"
while late=$(waiting) && [ -n "$late" ]; do
    if [ "$(date +%s)" -ge "$give_up" ]; then
        for name in $late; do
            say "$name is not healthy; its log ends with:"
            "$@" logs --no-color --tail 20 "$name" 2>&1 | readable
        done
        fail "not healthy: $(echo "$late" | tr '\n' ' ')"
    fi
    sleep 1
done

nats=$(port_of nats 4222 "$@")
jaeger=$(port_of jaeger 16686 "$@")
traces=${jaeger:+http://$jaeger}
traces=${traces:-'.venv/bin/natscope trace <task>   (Jaeger is not running)'}
address=
[ "$nats" = 127.0.0.1:4222 ] || address=" --url nats://$nats"
say "the house is up"
cat <<END

  NATS     nats://$nats   (a guest needs no password)
  health   http://$(port_of nats 8222 "$@")/healthz
  traces   $traces

Try a task:

  .venv/bin/natscope$address ask assistant 'How many primes are there below 10000?'
  nats --server nats://$nats req agent.ask.assistant 'How many primes are there below 10000?' --timeout 60s

END
