#!/usr/bin/env bash
# Starts one file stream service: a video file, looped, into the frame queue.
set -euo pipefail
# shellcheck source=tools/lib/run.sh
source "$(dirname "${BASH_SOURCE[0]}")/lib/run.sh"

usage() {
    cat <<TEXT
usage: run-fss.sh -v FILE [-t TYPE[,TYPE]] [-s NAME] [-q ADDRESS] [-p PORT] [-u USER] [-y REGISTRY] [-h]

  -v FILE      any video file that FFmpeg reads; it loops
  -t TYPE      inference types that get each frame (default: people)
  -s NAME      name of the stream (default: <host name>-file)
  -q ADDRESS   the frame queue: host, IP address or redis://… (default: 127.0.0.1)
  -p PORT      its port (default: $RUN_QUEUE_PORT)
  -u USER      user of the queue; the password comes from QUEUE_PASSWORD, QUEUE_PASSWORD_FILE or a prompt
  -y REGISTRY  run the image REGISTRY/ei-file-stream-service instead of the virtual environment
  -h           this text

Other settings are environment variables: VIDEO_FPS, FRAME_WIDTH, FRAME_HEIGHT, JPEG_QUALITY, … (doc/configuration.md).
TEXT
}

queue="127.0.0.1" port="$RUN_QUEUE_PORT" user="" registry=""
run_options "v=VIDEO_FILE t=INFER_TYPE s=STREAM_NAME q=queue p=port u=user y=registry" "$@"

[[ -n "${VIDEO_FILE:-}" ]] || run_die "-v is missing: expected a video file (-h shows the options)"
run_queue "$queue" "$port" "$user"
export VIDEO_FILE
[[ -z "$registry" ]] || run_stream_name file
run_service ei-file-stream-service ei-file-stream-service "$registry"
