#!/usr/bin/env bash
# Starts one gateway: REST, the dashboard and the websockets of the streams.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-gws.sh [-i ADDRESS] [-p PORT] [-w URL] [-g PORT] [-u USER] [-y REGISTRY] [-h]

  -i ADDRESS   Redis of queue and broker: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: 31003)
  -w URL       the websocket server (default: ws://127.0.0.1:31611)
  -g PORT      port that the gateway listens on (default: 5000)
  -u USER      user of Redis; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-gateway-server instead of the virtual environment
  -h           this text

Other settings go by environment: GATEWAY_TOKEN, GATEWAY_TLS_CERT, ALLOWED_ORIGINS, … (doc/configuration.md).
TEXT
}

redis="127.0.0.1" port=31003 websocket="" listen="" user="" registry=""
while getopts ":i:p:w:g:u:y:h" option; do
    case "$option" in
    i) redis="$OPTARG" ;;
    p) port="$OPTARG" ;;
    w) websocket="$OPTARG" ;;
    g) listen="$OPTARG" ;;
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
[[ -z "$listen" || "$listen" == 0 ]] || run_port -g "$listen"
# The broker is the queue's Redis unless BROKER_* says otherwise.
run_redis QUEUE "$redis" "$port"
run_refuse_http "$redis" "$port"
run_login QUEUE "$user"
[[ -z "$listen" ]] || export GATEWAY_PORT="$listen"
[[ -z "$websocket" ]] || export WEBSOCKET_SERVER_URL="$websocket"
if [[ -n "$registry" ]]; then
    # Files of this machine: the token goes by environment, certificate and key are mounted where they are.
    if [[ -n "${GATEWAY_TOKEN_FILE:-}" ]]; then
        [[ -r "$GATEWAY_TOKEN_FILE" ]] || run_die "GATEWAY_TOKEN_FILE=$GATEWAY_TOKEN_FILE: expected a readable file"
        GATEWAY_TOKEN="$(<"$GATEWAY_TOKEN_FILE")"
        export GATEWAY_TOKEN
    fi
    for file in GATEWAY_TLS_CERT GATEWAY_TLS_KEY; do
        [[ -n "${!file:-}" ]] || continue
        [[ -f "${!file}" && -r "${!file}" ]] || run_die "$file=${!file}: expected a readable file"
        export "$file=$(realpath -- "${!file}")"
        run_mount "$file" "${!file}" "${!file}"
    done
fi
run_service ei-gateway-server ei-gateway-server "$registry" \
    GATEWAY_HOST GATEWAY_PORT GATEWAY_TOKEN GATEWAY_TLS_CERT GATEWAY_TLS_KEY WEBSOCKET_SERVER_URL MAX_VIEWERS \
    ALLOWED_ORIGINS
