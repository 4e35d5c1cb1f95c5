#!/usr/bin/env bash
# Expected: with `timeout=(5, 1)`, `demux(video=0)` of a live input raises about a second after the last packet of the
# video.
# Seen (PyAV 18.1.0 with FFmpeg 8.1, November 2026): it does not raise while sound arrives. The time-out starts again
# with each packet of any stream, and packets of other streams are dropped inside `demux`, without a return to Python.
# So a camera whose encoder hangs while its microphone works blocks the thread for ever. `demux()` of all streams, with
# a clock of one's own, does not.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.2.6
"$folder/venv/bin/python" - <<'PYTHON'
import io
import socket
import threading
import time

import av
import numpy as np

SOUND_S = 7


def recording() -> bytes:
    """MPEG-TS: a second of video, with sound that goes on."""
    file = io.BytesIO()
    with av.open(file, "w", "mpegts") as output:
        video = output.add_stream("mpeg2video", 25)
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        sound = output.add_stream("mp2", 48000)
        for number in range(25):
            image = av.VideoFrame.from_ndarray(np.full((64, 64, 3), 9 * number, np.uint8), "rgb24")
            output.mux(video.encode(image))
        output.mux(video.encode(None))
        for number in range(SOUND_S * 50):
            tone = av.AudioFrame.from_ndarray(np.full((1, 960 * 2), number % 99, np.int16), "s16", "stereo")
            tone.sample_rate, tone.pts = 48000, 960 * number
            output.mux(sound.encode(tone))
        output.mux(sound.encode(None))
    return file.getvalue()


def send(listener: socket.socket, data: bytes) -> None:
    connection, _ = listener.accept()
    with connection:
        for part in range(SOUND_S * 10):
            size = len(data) // (SOUND_S * 10) + 1
            connection.sendall(data[part * size : (part + 1) * size])
            time.sleep(0.1)


print("PyAV", av.__version__)
with socket.create_server(("127.0.0.1", 0)) as listener:
    threading.Thread(target=send, args=(listener, recording()), daemon=True).start()
    url = f"tcp://127.0.0.1:{listener.getsockname()[1]}"
    with av.open(url, format="mpegts", options={"probesize": "20000"}, timeout=(5, 1)) as live:
        last, silent_s, raised = time.monotonic(), 0.0, False
        try:
            # The last packet of the video comes at the end: only then is it known to be complete.
            for _ in live.demux(video=0):
                now = time.monotonic()
                last, silent_s = now, max(silent_s, now - last)
        except (av.FFmpegError, OSError) as error:
            raised = True
            print(type(error).__name__)
print(f"without video for {silent_s:.1f} s, time-out of 1 s: {'raised' if raised else 'not raised'}")
assert not raised, "the time-out counts the packets of one stream now"
assert silent_s > 3, "the input ended too early"
print("as described: the time-out of one stream counts the packets of all")
PYTHON
