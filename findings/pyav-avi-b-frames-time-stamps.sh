#!/usr/bin/env bash
# Expected: PyAV returns decoded frames in presentation order, so their pts rises from frame to frame.
# Seen (PyAV 18.1.0 with FFmpeg 8.1, November 2026): for H.264 with B frames in AVI, which stores no presentation
# times, the frames come in the right order, but their pts goes back and forth (1, 2, 3, 5, 4, 6, …). Only frame.dts
# rises. ffprobe's "best effort" time stamps hide this, and PyAV does not expose them. A player that schedules by pts
# shows some frames late and others early; `Stream.average_rate` gives no hint.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - "$folder/clip.avi" <<'PYTHON'
import sys

import av
import numpy as np

path = sys.argv[1]
with av.open(path, "w") as output:
    stream = output.add_stream("libx264", rate=10, options={"bf": "2", "x264-params": "log-level=none"})
    stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
    rows = np.arange(120)[:, None]
    for number in range(20):
        image = np.zeros((120, 160, 3), np.uint8)
        image[:, number * 7 : number * 7 + 20] = 255  # a bar that moves, so that B frames pay
        image[:, :, 1] += (rows + number).astype(np.uint8)
        output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
    output.mux(stream.encode(None))

with av.open(path) as clip:
    frames = [frame for packet in clip.demux(video=0) for frame in packet.decode()]
pts = [frame.pts for frame in frames if frame.pts is not None]
dts = [frame.dts for frame in frames if frame.dts is not None]
kinds = "".join("?IPB"[frame.pict_type] if frame.pict_type < 4 else "?" for frame in frames)
print("PyAV", av.__version__, "FFmpeg", ".".join(map(str, av.library_versions["libavcodec"])), "(libavcodec)")
print("frames:", len(frames), kinds)
print("pts:", pts)
print("dts:", dts)
assert "B" in kinds, "the encoder made no B frames: the clip shows nothing"
assert pts != sorted(pts), "pts rises now: the behaviour has changed"
assert dts == sorted(dts), "dts no longer rises: the behaviour has changed"
print("as described: pts goes back and forth, dts rises")
PYTHON
