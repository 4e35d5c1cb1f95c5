#!/usr/bin/env bash
# Starts one housekeeping service, which trims the frame queues and exports their lengths.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-hks.sh [-i ADDRESS] [-p PORT] [-u USER] [-y REGISTRY] [-h]

  -i ADDRESS   Redis of queue and broker: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: 31003)
  -u USER      user of Redis; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run it from the image REGISTRY/ei-gateway-server instead of the virtual environment
  -h           this text

Without it, stale frames stay in the queue while no pod pops, and nobody exports ei_queue_length and ei_workers.
Other settings go by environment: QUEUE_DEPTH, MAX_FRAME_AGE_S, … (doc/configuration.md).
TEXT
}

redis="127.0.0.1" port=31003 user="" registry=""
while getopts ":i:p:u:y:h" option; do
    case "$option" in
    i) redis="$OPTARG" ;;
    p) port="$OPTARG" ;;
    u) user="$OPTARG" ;;
    y) registry="$OPTARG" ;;
    h) usage && exit 0 ;;
    :) run_die "-$OPTARG needs a value (-h shows the options)" ;;
    *) run_die "-$OPTARG is unknown (-h shows the options)" ;;
    esac
done
shift $((OPTIND - 1))
(($# == 0)) || run_die "'$1' is not an option (-h shows them)"

run_port -p "$port"
# The broker is the queue's Redis unless BROKER_* says otherwise.
run_redis QUEUE "$redis" "$port"
run_refuse_http "$redis" "$port"
run_login QUEUE "$user"
# The gateway's image holds this service, too.
[[ -z "$registry" ]] || RUN_ENGINE_ARGS+=(--entrypoint ei-housekeeping-service)
run_service ei-housekeeping-service ei-gateway-server "$registry" \
    STREAM_QUEUE_DEPTH QUEUE_DEPTH TOKEN_LIMIT MAX_FRAME_AGE_S MAX_FRAME_BYTES MAX_FRAME_PIXELS
