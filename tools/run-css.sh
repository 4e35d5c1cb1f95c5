#!/usr/bin/env bash
# Starts one camera stream service: a USB or network camera into the frame queue.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-css.sh -v CAMERA [-t TYPE[,TYPE]] [-s NAME] [-f FPS] [-q ADDRESS] [-p PORT] [-u USER] [-y REGISTRY] [-h]

  -v CAMERA    0 (a USB index), /dev/videoN, or a URL: rtsp, rtsps, http, https, rtmp, udp, …
  -t TYPE      inference types that get each frame (default: people)
  -s NAME      name of the stream (default: <host name>-camera)
  -f FPS       maximum of frames per second (default: 15)
  -q ADDRESS   the frame queue: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: $RUN_QUEUE_PORT)
  -u USER      user of the queue; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-camera-stream-service instead of the virtual environment
  -h           this text

If a camera's address holds a password, give it as CAMERA in the environment: an address after -v shows in the list of
processes until the service has started. Other settings are environment variables too: FRAME_WIDTH, FRAME_HEIGHT,
JPEG_QUALITY, SOURCE_STALL_S, … (doc/configuration.md).
TEXT
}

queue="127.0.0.1" port="$RUN_QUEUE_PORT" user="" registry=""
run_options "v=CAMERA t=INFER_TYPE s=STREAM_NAME f=CAMERA_FPS q=queue p=port u=user y=registry" "$@"

[[ -n "${CAMERA:-}" ]] || run_die "-v is missing: expected a camera (-h shows the options)"
run_queue "$queue" "$port" "$user"
export CAMERA
if [[ -n "$registry" ]]; then
    device="$CAMERA"
    [[ "$CAMERA" =~ ^[0-9]+$ ]] && device="/dev/video$CAMERA"
    if [[ "$device" == /dev/* ]]; then
        [[ -e "$device" ]] || run_die "-v $CAMERA: $device does not exist, is the camera plugged in?"
        # The image's user is not root: it gets the device, and the group that owns it here.
        RUN_ENGINE_ARGS+=(--device "$device" --group-add "$(stat -L -c %g -- "$device")")
    fi
    run_stream_name camera
fi
run_service ei-camera-stream-service ei-camera-stream-service "$registry"
