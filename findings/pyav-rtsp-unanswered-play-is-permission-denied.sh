#!/usr/bin/env bash
# Expected: if an RTSP camera closes the connection instead of answering PLAY, or does not answer it in time, opening it
# ends with an error about the connection or a time-out.
# Seen (PyAV 18.1.0 with FFmpeg 8.1, November 2026): both end with PermissionError, "Operation not permitted". FFmpeg's
# client returns -1 where an answer to PLAY has no status, and -1 is EPERM. So an overloaded camera looks as if it
# refused the user. The time that has passed tells a camera that is silent from one that hangs up.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0
"$folder/venv/bin/python" - <<'PYTHON'
import re
import socket
import threading
import time

import av

SDP = (
    "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=camera\r\nt=0 0\r\nm=video 0 RTP/AVP 26\r\nc=IN IP4 0.0.0.0\r\n"
    "a=control:track0\r\n"
)


def camera(listener: socket.socket, hangs_up: bool) -> None:
    """Answers all requests except PLAY."""
    connection, _ = listener.accept()
    with connection:
        data = b""
        while chunk := connection.recv(4096):
            data += chunk
            while b"\r\n\r\n" in data:
                head, _, data = data.partition(b"\r\n\r\n")
                method = head.split(b" ")[0].decode()
                if method == "PLAY":
                    if hangs_up:
                        return
                    continue
                number = re.search(rb"CSeq: *(\d+)", head)[1].decode()
                body = SDP if method == "DESCRIBE" else ""
                lines = ["RTSP/1.0 200 OK", f"CSeq: {number}", f"Content-Length: {len(body)}"]
                if method == "DESCRIBE":
                    lines.append("Content-Type: application/sdp")
                if method == "SETUP":
                    lines += ["Transport: RTP/AVP/TCP;unicast;interleaved=0-1", "Session: 1"]
                connection.sendall(("\r\n".join(lines) + "\r\n\r\n" + body).encode())


print("PyAV", av.__version__)
found = set()
for hangs_up in (True, False):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=camera, args=(listener, hangs_up), daemon=True).start()
        url = f"rtsp://127.0.0.1:{listener.getsockname()[1]}/live"
        began = time.monotonic()
        try:
            av.open(url, options={"rtsp_transport": "tcp", "timeout": "2000000"}, timeout=(6.0, 6.0))
        except av.FFmpegError as error:
            found.add(type(error).__name__)
            what = "hangs up at PLAY" if hangs_up else "does not answer PLAY"
            print(f"{what}: {type(error).__name__} after {time.monotonic() - began:.1f} s: {error.strerror}")
assert found == {"PermissionError"}, "an unanswered PLAY gives another error now"
print("as described: a camera that does not answer PLAY is called a missing permission")
PYTHON
