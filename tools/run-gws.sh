#!/usr/bin/env bash
# Starts one gateway: REST, the dashboard and the websockets of the streams.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-gws.sh [-i ADDRESS] [-p PORT] [-w URL] [-g PORT] [-u USER] [-y REGISTRY] [-h]

  -i ADDRESS   Redis of queue and broker: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: $RUN_QUEUE_PORT)
  -w URL       the websocket server (default: $RUN_WEBSOCKET_URL)
  -g PORT      port that the gateway listens on (default: $RUN_GATEWAY_PORT)
  -u USER      user of Redis; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-gateway-server instead of the virtual environment
  -h           this text

Other settings are environment variables: GATEWAY_TOKEN, GATEWAY_TOKENS_FILE, ALLOWED_HOSTS, … (doc/configuration.md).
TEXT
}

redis="127.0.0.1" port="$RUN_QUEUE_PORT" listen="" user="" registry=""
run_options "i=redis p=port w=WEBSOCKET_SERVER_URL g=listen u=user y=registry" "$@"

run_queue "$redis" "$port" "$user"
run_listen -g GATEWAY_PORT "$listen"
run_service ei-gateway-server ei-gateway-server "$registry"
