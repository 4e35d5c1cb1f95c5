#!/usr/bin/env bash
# Starts one file stream service: a video file, looped, into the frame queue.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-fss.sh -v FILE [-t TYPE[,TYPE]] [-s NAME] [-q ADDRESS] [-p PORT] [-u USER] [-y REGISTRY] [-h]

  -v FILE      a video file, anything that OpenCV reads; it loops
  -t TYPE      inference type or types that get each frame (default: people)
  -s NAME      name of the stream (default: <host name>-file)
  -q ADDRESS   the frame queue: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: 31003)
  -u USER      user of the queue; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-file-stream-service instead of the virtual environment
  -h           this text

Other settings go by environment: VIDEO_FPS, FRAME_WIDTH, FRAME_HEIGHT, JPEG_QUALITY, … (doc/configuration.md).
TEXT
}

video="" types="" name="" queue="127.0.0.1" port=31003 user="" registry=""
while getopts ":v:t:s:q:p:u:y:h" option; do
    case "$option" in
    v) video="$OPTARG" ;;
    t) types="$OPTARG" ;;
    s) name="$OPTARG" ;;
    q) queue="$OPTARG" ;;
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

[[ -n "$video" ]] || run_die "-v is missing: expected a video file (-h shows the options)"
run_port -p "$port"
run_redis QUEUE "$queue" "$port"
run_refuse_http "$queue" "$port"
run_login QUEUE "$user"
[[ -z "$types" ]] || export INFER_TYPE="$types"
[[ -z "$name" ]] || export STREAM_NAME="$name"
export VIDEO_FILE="$video"
if [[ -n "$registry" ]]; then
    [[ -f "$video" && -r "$video" ]] || run_die "-v $video: expected a readable file"
    run_mount -v "$(realpath -- "$video")" "/videos/$(basename -- "$video")"
    VIDEO_FILE="/videos/$(basename -- "$video")"
    export STREAM_NAME="${STREAM_NAME:-$(hostname | tr -c 'A-Za-z0-9._\n-' _)-file}"
fi
run_service ei-file-stream-service ei-file-stream-service "$registry" \
    INFER_TYPE STREAM_NAME VIDEO_FILE VIDEO_FPS FRAME_WIDTH FRAME_HEIGHT JPEG_QUALITY \
    STREAM_QUEUE_DEPTH QUEUE_DEPTH TOKEN_LIMIT MAX_FRAME_AGE_S MAX_FRAME_BYTES MAX_FRAME_PIXELS
