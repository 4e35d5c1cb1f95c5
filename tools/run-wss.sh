#!/usr/bin/env bash
# Starts one websocket server: from the stream broker's results to viewers.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-wss.sh [-i ADDRESS] [-p PORT] [-w PORT] [-u USER] [-y REGISTRY] [-h]

  -i ADDRESS   the stream broker: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: $RUN_QUEUE_PORT)
  -w PORT      port to listen on for viewers (default: $RUN_WEBSOCKET_PORT; 0 takes a free one)
  -u USER      user of the broker; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-websocket-server instead of the virtual environment
  -h           this text

It has no login: everybody who reaches its port sees every stream. WEBSOCKET_HOST=127.0.0.1 keeps it on this machine.
A viewer opens ws://<this host>:$RUN_WEBSOCKET_PORT/<name>:<type>:inferred, optionally with ?format=frame or
?format=json. Other settings are environment variables: MAX_VIEWERS, REORDER_MS, ALLOWED_ORIGINS, …
(doc/configuration.md).
TEXT
}

redis="127.0.0.1" port="$RUN_QUEUE_PORT" listen="" user="" registry=""
run_options "i=redis p=port w=listen u=user y=registry" "$@"

run_queue "$redis" "$port" "$user"
run_listen -w WEBSOCKET_PORT "$listen"
run_service ei-websocket-server ei-websocket-server "$registry"
