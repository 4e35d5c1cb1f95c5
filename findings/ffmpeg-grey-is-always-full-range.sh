#!/usr/bin/env bash
# One would guess: FFmpeg's scaler (PyAV's VideoFrame.reformat) obeys color_range of a grey frame, as it does for YCbCr.
# What happens (PyAV 18.1.0 with FFmpeg 8.1, November 2026): for `gray`, `gray10le` and the like it always reads full
# range. A monochrome H.265 video of limited range decodes to `gray` with color_range 1, and comes out of every
# conversion with black at 16 and white at 235, without an error.
# H.264 hides this: its decoder returns monochrome video as yuv420p, which is converted right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import av
import numpy as np

SIZE = 64
pixels = np.repeat(np.array([[16] * 32 + [235] * 32], np.uint8), SIZE, 0)  # black and white of limited range


def decoded(codec, options):
    path = f"{sys.argv[1]}/{codec}.mp4"
    with av.open(path, "w") as output:
        stream = output.add_stream(codec, rate=5, options=options)
        stream.width = stream.height = SIZE
        stream.pix_fmt = "gray"
        stream.codec_context.color_range = 1
        image = av.VideoFrame.from_ndarray(pixels, "gray")
        image.color_range = 1
        output.mux(stream.encode(image))
        output.mux(stream.encode(None))
    with av.open(path) as video:
        return next(video.decode(video=0))


print("PyAV", av.__version__, "libswscale", ".".join(map(str, av.library_versions["libswscale"])))
found = {}
for codec, options in (
    ("libx265", {"x265-params": "log-level=none:range=limited:lossless=1"}),
    ("libx264", {"x264-params": "log-level=none:range=tv", "qp": "0"}),
):
    frame = decoded(codec, options)
    shown = frame.reformat(format="rgb24", threads=1).to_ndarray()[SIZE // 2, :, 0]
    found[codec] = (int(shown[8]), int(shown[-8]))
    print(f"{codec}: {frame.format.name}, color_range {int(frame.color_range)}: black {shown[8]}, white {shown[-8]}")
assert found["libx264"] == (0, 255), "H.264 comes out wrong now: the behaviour has changed"
assert found["libx265"] == (16, 235), "grey of limited range is expanded now: the behaviour has changed"
print("as described: the grey frame keeps its limited range")
PYTHON
