#!/usr/bin/env bash
# Reports what a camera or a video file is, and what it would cost. See `tools/probe-camera.sh -h`.
set -euo pipefail
here=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
if [[ -x $here/.venv/bin/ei-camera-probe ]]; then
    exec "$here/.venv/bin/ei-camera-probe" "$@"
elif command -v ei-camera-probe >/dev/null; then
    exec ei-camera-probe "$@"
fi
echo "error: the package is not installed: run 'make install' in $here" >&2
exit 2
