#!/usr/bin/env bash
# Starts one inference service: frames of one type from the frame queue, results to the stream broker.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-ois.sh [-t TYPE] [-i ADDRESS] [-o ADDRESS] [-p PORT] [-u USER] [-y REGISTRY] [-h]

  -t TYPE      inference type to serve (default: people)
  -i ADDRESS   the frame queue: host, IP address or redis://… (default: 127.0.0.1)
  -o ADDRESS   the stream broker, the same forms (default: the frame queue's)
  -p PORT      port of both, if the address has none (default: $RUN_QUEUE_PORT)
  -u USER      user of both; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-inference-service instead of the virtual environment
  -h           this text

Other settings are environment variables: INFER_MODEL_NAME, INFER_MODEL_PATH, INFER_DEVICE, CONFIDENCE_THRESHOLD, …
(doc/configuration.md). With -y, INFER_MODEL_PATH is mounted read-only; without it, the image's models are used.
TEXT
}

queue="127.0.0.1" broker="" port="$RUN_QUEUE_PORT" user="" registry=""
run_options "t=INFER_TYPE i=queue o=broker p=port u=user y=registry" "$@"

run_queue "$queue" "$port" "$user"
[[ -z "$broker" ]] || run_redis BROKER "$broker" "$port"
if [[ -n "$registry" ]]; then
    # The container's user is not root: it needs the group of the device as well.
    for device in /dev/dri/renderD128 /dev/accel/accel0; do
        case "$device:${INFER_DEVICE:-CPU}" in
        /dev/dri*:*GPU* | /dev/accel*:*NPU*)
            [[ ! -e "$device" ]] \
                || RUN_ENGINE_ARGS+=(--device "$(dirname "$device")" --group-add "$(stat -c %g "$device")")
            ;;
        esac
    done
fi
run_service ei-inference-service ei-inference-service "$registry"
