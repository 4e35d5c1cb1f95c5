#!/usr/bin/env bash
# Starts one camera stream service: a USB or network camera into the frame queue.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-css.sh -v CAMERA [-t TYPE[,TYPE]] [-s NAME] [-f FPS] [-q ADDRESS] [-p PORT] [-u USER] [-y REGISTRY] [-h]

  -v CAMERA    0 (a USB index), /dev/videoN, rtsp://…, or http://… (MJPEG)
  -t TYPE      inference type or types that get each frame (default: people)
  -s NAME      name of the stream (default: <host name>-camera)
  -f FPS       frames a second, at most (default: 15)
  -q ADDRESS   the frame queue: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: 31003)
  -u USER      user of the queue; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-camera-stream-service instead of the virtual environment
  -h           this text

A camera's address with a password is better given as CAMERA in the environment: what follows -v shows in the list of
processes until the service has started. Other settings go by environment too: FRAME_WIDTH, FRAME_HEIGHT,
JPEG_QUALITY, SOURCE_STALL_S, … (doc/configuration.md).
TEXT
}

camera="${CAMERA:-}" types="" name="" fps="" queue="127.0.0.1" port=31003 user="" registry=""
while getopts ":v:t:s:f:q:p:u:y:h" option; do
    case "$option" in
    v) camera="$OPTARG" ;;
    t) types="$OPTARG" ;;
    s) name="$OPTARG" ;;
    f) fps="$OPTARG" ;;
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

[[ -n "$camera" ]] || run_die "-v is missing: expected a camera (-h shows the options)"
run_port -p "$port"
run_redis QUEUE "$queue" "$port"
run_refuse_http "$queue" "$port"
run_login QUEUE "$user"
export CAMERA="$camera"
[[ -z "$types" ]] || export INFER_TYPE="$types"
[[ -z "$name" ]] || export STREAM_NAME="$name"
[[ -z "$fps" ]] || export CAMERA_FPS="$fps"
if [[ -n "$registry" ]]; then
    device="$camera"
    [[ "$camera" =~ ^[0-9]+$ ]] && device="/dev/video$camera"
    if [[ "$device" == /dev/* ]]; then
        [[ -e "$device" ]] || run_die "-v $camera: $device does not exist, is the camera plugged in?"
        # The image's user is not root: it gets the device, and the group that owns it here.
        RUN_ENGINE_ARGS+=(--device "$device" --group-add "$(stat -L -c %g -- "$device")")
    fi
    export STREAM_NAME="${STREAM_NAME:-$(hostname | tr -c 'A-Za-z0-9._\n-' _)-camera}"
fi
run_service ei-camera-stream-service ei-camera-stream-service "$registry" \
    INFER_TYPE STREAM_NAME CAMERA CAMERA_FPS SOURCE_STALL_S FRAME_WIDTH FRAME_HEIGHT JPEG_QUALITY \
    OPENCV_FFMPEG_CAPTURE_OPTIONS STREAM_QUEUE_DEPTH QUEUE_DEPTH TOKEN_LIMIT MAX_FRAME_AGE_S MAX_FRAME_BYTES MAX_FRAME_PIXELS
