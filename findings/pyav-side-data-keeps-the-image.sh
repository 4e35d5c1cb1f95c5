#!/usr/bin/env bash
# One would guess: to ask a decoded frame for its side data (the rotation, captions) costs a look-up, and the image is
# freed with the last name for it, as that of any other frame.
# What happens (PyAV 18.1.0, November 2026): the first read of Frame.side_data makes a container that the frame keeps
# and that keeps the frame, also if there is no side data at all. From then on only Python's cyclic collector frees the
# image. It counts objects, not bytes, and a loop that decodes makes few: a process with six cameras of 1080p grew by
# 68 to 128 MB for each, instead of 15 to 29, and each frame cost more CPU, since its memory was never used again.
# Remedy: Frame.rotation, which reads the matrix without a container; side_data only for the first frame of a kind.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 numpy==2.3.5
"$folder/venv/bin/python" - <<'PYTHON'
import gc

import av
import numpy as np

FRAMES, WIDTH, HEIGHT = 50, 1920, 1080
IMAGE_MB = WIDTH * HEIGHT * 3 / 2 / 1e6


def memory_mb():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 / 1e6 for line in status if line.startswith("VmRSS"))


def grown(read):
    """Megabytes that stay after `read` has seen 50 images, one after the other, and frames that the collector finds."""
    gc.collect()
    before = memory_mb()
    for _ in range(FRAMES):
        frame = av.VideoFrame.from_ndarray(np.ones((HEIGHT * 3 // 2, WIDTH), np.uint8), "yuv420p")
        read(frame)
    del frame
    stays = memory_mb() - before
    frames = sum(isinstance(each, av.VideoFrame) for each in gc.get_objects())
    gc.collect()
    return stays, frames


print("PyAV", av.__version__, f"- {FRAMES} frames of {IMAGE_MB:.1f} MB, none with side data, one at a time")
grown(lambda frame: None)  # the allocator settles
# What a program allocates otherwise decides when the collector runs; here it runs when asked.
gc.disable()
found = {}
for name, read in (
    ("nothing read", lambda frame: None),
    ("rotation", lambda frame: frame.rotation),
    ("side_data", lambda frame: frame.side_data.get("DISPLAYMATRIX")),
):
    found[name] = grown(read)
    print(f"{name:13} {found[name][0]:6.1f} MB stay, {found[name][1]} frames are left to the collector")
assert found["nothing read"][1] == found["rotation"][1] == 0
assert found["side_data"][1] == FRAMES, "frames are freed at once now: the behaviour has changed"
assert found["side_data"][0] > FRAMES * IMAGE_MB / 2
print("as described: a look at side_data leaves the image to the cyclic collector")
PYTHON
