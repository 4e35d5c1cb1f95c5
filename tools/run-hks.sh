#!/usr/bin/env bash
# Starts one housekeeping service, which trims the frame queues and exports their lengths.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-hks.sh [-i ADDRESS] [-p PORT] [-u USER] [-y REGISTRY] [-h]

  -i ADDRESS   Redis of queue and broker: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: $RUN_QUEUE_PORT)
  -u USER      user of Redis; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run it from the image REGISTRY/ei-gateway-server instead of the virtual environment
  -h           this text

Without it, stale frames stay in the queue while no pod pops, and no service exports ei_queue_length and ei_workers.
Other settings are environment variables: QUEUE_DEPTH, MAX_FRAME_AGE_S, … (doc/configuration.md).
TEXT
}

redis="127.0.0.1" port="$RUN_QUEUE_PORT" user="" registry=""
run_options "i=redis p=port u=user y=registry" "$@"

run_queue "$redis" "$port" "$user"
# The gateway's image holds this service, too.
run_service ei-housekeeping-service ei-gateway-server "$registry"
