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
  -p PORT      port of both, where the address gives none (default: 31003)
  -u USER      user of both; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-inference-service instead of the virtual environment
  -h           this text

Other settings go by environment: INFER_MODEL_NAME, INFER_MODEL_PATH, INFER_DEVICE, CONFIDENCE_THRESHOLD, …
(doc/configuration.md). With -y, a model of INFER_MODEL_PATH is mounted read-only; without one the image's models serve.
TEXT
}

type="" queue="127.0.0.1" broker="" port=31003 user="" registry=""
while getopts ":t:i:o:p:u:y:h" option; do
    case "$option" in
    t) type="$OPTARG" ;;
    i) queue="$OPTARG" ;;
    o) broker="$OPTARG" ;;
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
run_redis QUEUE "$queue" "$port"
run_refuse_http "$queue" "$port"
if [[ -n "$broker" ]]; then
    run_redis BROKER "$broker" "$port"
    run_refuse_http "$broker" "$port"
fi
run_login QUEUE "$user"
[[ -z "$type" ]] || export INFER_TYPE="$type"
if [[ -n "$registry" && -n "${INFER_MODEL_PATH:-}" ]]; then
    [[ -e "$INFER_MODEL_PATH" && -r "$INFER_MODEL_PATH" ]] || run_die "INFER_MODEL_PATH=$INFER_MODEL_PATH: expected a readable file or folder"
    model="$(realpath -- "$INFER_MODEL_PATH")"
    if [[ -d "$model" ]]; then
        run_mount INFER_MODEL_PATH "$model" /own-models
        export INFER_MODEL_PATH=/own-models
    else
        # The weights and the description lie beside the file: the folder is mounted.
        run_mount INFER_MODEL_PATH "$(dirname -- "$model")" /own-models
        export INFER_MODEL_PATH="/own-models/$(basename -- "$model")"
    fi
fi
if [[ -n "$registry" ]]; then
    # The container's user is not root: it needs the group of the device as well.
    for device in /dev/dri/renderD128 /dev/accel/accel0; do
        case "$device:${INFER_DEVICE:-CPU}" in
        /dev/dri*:*GPU* | /dev/accel*:*NPU*)
            [[ ! -e "$device" ]] || RUN_ENGINE_ARGS+=(--device "$(dirname "$device")" --group-add "$(stat -c %g "$device")")
            ;;
        esac
    done
fi
run_service ei-inference-service ei-inference-service "$registry" \
    INFER_TYPE INFER_MODEL_NAME INFER_MODEL_PATH INFER_DEVICE MODEL_CACHE_DIR CONFIDENCE_THRESHOLD RESULTS_MAXLEN \
    STREAM_QUEUE_DEPTH QUEUE_DEPTH TOKEN_LIMIT MAX_FRAME_AGE_S MAX_FRAME_BYTES MAX_FRAME_PIXELS
