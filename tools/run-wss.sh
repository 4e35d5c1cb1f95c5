#!/usr/bin/env bash
# Starts one websocket server: from the stream broker's results to viewers.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-wss.sh [-i ADDRESS] [-p PORT] [-w PORT] [-u USER] [-y REGISTRY] [-h]

  -i ADDRESS   the stream broker: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: 31003)
  -w PORT      port to listen on for viewers (default: 31611; 0 takes a free one)
  -u USER      user of the broker; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-websocket-server instead of the virtual environment
  -h           this text

A viewer opens ws://<this host>:31611/<name>:<type>:inferred, with ?format=frame or ?format=json if wanted.
Other settings go by environment: MAX_VIEWERS, REORDER_MS, ALLOWED_ORIGINS, … (doc/configuration.md).
TEXT
}

broker="127.0.0.1" port=31003 listen="" user="" registry=""
while getopts ":i:p:w:u:y:h" option; do
    case "$option" in
    i) broker="$OPTARG" ;;
    p) port="$OPTARG" ;;
    w) listen="$OPTARG" ;;
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
[[ -z "$listen" || "$listen" == 0 ]] || run_port -w "$listen"
# The broker is the queue's Redis unless BROKER_* says otherwise.
run_redis QUEUE "$broker" "$port"
run_refuse_http "$broker" "$port"
run_login QUEUE "$user"
[[ -z "$listen" ]] || export WEBSOCKET_PORT="$listen"
run_service ei-websocket-server ei-websocket-server "$registry" \
    WEBSOCKET_HOST WEBSOCKET_PORT MAX_VIEWERS REORDER_MS ALLOWED_ORIGINS
