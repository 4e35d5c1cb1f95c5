#!/usr/bin/env bash
# Starts one event service, which makes events of results and delivers them.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-evs.sh [-i ADDRESS] [-p PORT] [-u USER] [-y REGISTRY] [-h]

  -i ADDRESS   Redis of queue and broker: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: $RUN_QUEUE_PORT)
  -u USER      user of Redis; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run it from the image REGISTRY/ei-event-service instead of the virtual environment
  -h           this text

Without it there are results, but no tracks and no events (doc/events.md). Several share the work.
Other settings are environment variables: EVENT_RETENTION_S, EVENT_REORDER_MS, … (doc/configuration.md).
TEXT
}

redis="127.0.0.1" port="$RUN_QUEUE_PORT" user="" registry=""
run_options "i=redis p=port u=user y=registry" "$@"

run_queue "$redis" "$port" "$user"
run_service ei-event-service ei-event-service "$registry"
