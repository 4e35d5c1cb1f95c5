#!/usr/bin/env bash
# Expected: opening an RTSP URL whose server accepts the connection and then sends nothing ends with a time-out error,
# as it does with an HTTP URL.
# Seen (PyAV 18.1.0 with FFmpeg 8.1, November 2026): the time-out works, but the error is InvalidDataError, "Invalid
# data found when processing input", the same as for a URL that is not a video. HTTP raises ExitError or TimeoutError.
# Only the time that has passed distinguishes a silent camera from one that sends garbage.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import socket
import time

import av

print("PyAV", av.__version__)
with socket.create_server(("127.0.0.1", 0)) as silent:
    port = silent.getsockname()[1]
    found = {}
    for scheme in ("rtsp", "http"):
        options = {"rtsp_transport": "tcp", "timeout": "2000000"} if scheme == "rtsp" else {}
        began = time.monotonic()
        try:
            av.open(f"{scheme}://127.0.0.1:{port}/live", options=options, timeout=(4.0, 4.0))
        except av.FFmpegError as error:
            found[scheme] = type(error).__name__
            print(f"{scheme}: {found[scheme]} after {time.monotonic() - began:.1f} s: {error.strerror}")
assert found["rtsp"] == "InvalidDataError", "RTSP gives another error now"
assert found["http"] in ("ExitError", "TimeoutError"), "HTTP gives another error now"
print("as described: silence over RTSP is called invalid data")
PYTHON
