#!/usr/bin/env bash
# One would guess: cv2.VideoCapture shows interlaced video, as PAL cameras behind encoders and recorders send it, with
# combs where something moves.
# What happens (opencv-python-headless 5.0.0.93, November 2026): read() returns True and an image of the right size that
# has nothing of the picture: it is black, or rubbish once a process has read other videos. FFmpeg's scaler refuses to
# convert an interlaced picture into one that is not marked as interlaced, OpenCV does not look at its answer, and the
# only sign is a line of FFmpeg's on stderr for each frame. isOpened() and the count of frames are right. A detector
# finds nothing, as at night. H.264 and MPEG-2 are alike; progressive video is shown right.
# Remedy: PyAV, whose reformat converts such frames, or a deinterlacer in front.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check opencv-python-headless==5.0.0.93 av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - "$folder" 2>"$folder/errors" <<'PYTHON' || { cat "$folder/errors" >&2 && exit 1; }
import sys

import av
import cv2
import numpy as np

WIDTH, HEIGHT, FRAMES = 160, 128, 12


def clip(name, codec, options):
    path = f"{sys.argv[1]}/{name}"
    with av.open(path, "w") as output:
        stream = output.add_stream(codec, rate=25, options=options)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        for number in range(FRAMES):
            image = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
            image[:, number * 8 : number * 8 + 40] = 255
            output.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
        output.mux(stream.encode(None))
    return path


def by_opencv(path):
    capture, images = cv2.VideoCapture(path, cv2.CAP_FFMPEG), []
    assert capture.isOpened()
    while True:
        ok, image = capture.read()
        if not ok:
            return images
        images.append(image.astype(int))


def by_pyav(path):
    with av.open(path) as video:
        frames = list(video.decode(video=0))
    return [frame.to_ndarray(format="bgr24").astype(int) for frame in frames], frames[0].interlaced_frame


print("OpenCV", cv2.__version__, "PyAV", av.__version__)
fields = {"flags": "+ildct+ilme"}
for name, codec, options in (
    ("interlaced.mp4", "libx264", {**fields, "x264-params": "interlaced=1:tff=1:log-level=none"}),
    ("interlaced.ts", "mpeg2video", fields),
    ("progressive.mp4", "libx264", {"x264-params": "log-level=none"}),
):
    path = clip(name, codec, options)
    read, (expected, interlaced) = by_opencv(path), by_pyav(path)
    assert [image.shape for image in read] == [image.shape for image in expected] == [(HEIGHT, WIDTH, 3)] * FRAMES
    assert interlaced == name.startswith("interlaced"), "the clip is not what it should be"
    right = sum(np.abs(one - other).mean() < 20 for one, other in zip(read, expected, strict=True))
    print(f"{name}, {codec}: {right} of {FRAMES} images are right; mean brightness {np.mean(read):.0f}, "
          f"by PyAV {np.mean(expected):.0f}")
    if interlaced:
        assert right == 0, "interlaced video is shown now: the behaviour has changed"
    else:
        assert right == FRAMES
print("as described: interlaced video comes out as something else, without an error")
PYTHON
sort -u <(grep -o 'Cannot convert interlaced.*' "$folder/errors") | head -1
