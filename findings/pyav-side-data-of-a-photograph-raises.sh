#!/usr/bin/env bash
# One would guess: Frame.side_data lists what FFmpeg attaches to a frame, for all kinds that this FFmpeg has; and that
# pixels of a JPEG with an EXIF orientation come either turned by all readers of one library or by none.
# What happens (PyAV 18.1.0 with FFmpeg 8.1, OpenCV 5.0.0, November 2026): FFmpeg 8 attaches EXIF to the frames of a
# JPEG as side data of a kind that PyAV's table lacks. Frame.side_data ends with "ValueError: 31 is not a valid Type"
# for each photograph or camera's still with EXIF, and what else is attached (the rotation, say) can't be read either.
# Frame.rotation reads it another way and works: -90 for orientation 6, with the pixels as stored. OpenCV turns the same
# file in imread and imdecode, and does not in VideoCapture.
# Remedy: Frame.rotation, and no look at side_data of JPEG.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check av==18.1.0 opencv-python-headless==5.0.0.93 \
    pillow==13.0.0 numpy==2.3.5
"$folder/venv/bin/python" - "$folder" <<'PYTHON'
import sys

import av
import cv2
from PIL import Image

ORIENTATION = 0x0112  # EXIF's tag; 6 is a camera held upright
plain, turned = f"{sys.argv[1]}/plain.jpg", f"{sys.argv[1]}/turned.jpg"
picture = Image.new("RGB", (64, 32), (200, 30, 30))
exif = Image.Exif()
exif[ORIENTATION] = 6
picture.save(plain)
picture.save(turned, exif=exif)


def described(path):
    """(width, height, rotation, what side_data says) of the frame, by PyAV."""
    with av.open(path) as photograph:
        frame = next(photograph.decode(video=0))
    try:
        said = [item.type.name for item in frame.side_data]
    except ValueError as error:
        said = f"ValueError: {error}"
    return frame.width, frame.height, frame.rotation, said


print("PyAV", av.__version__, "OpenCV", cv2.__version__)
found = {}
for name, path in (("plain", plain), ("with EXIF", turned)):
    read, played = cv2.imread(path), cv2.VideoCapture(path).read()[1]
    found[name] = described(path), read.shape[1::-1], played.shape[1::-1]
    print(f"{name}: PyAV {found[name][0]}; OpenCV's imread {found[name][1]}, VideoCapture {found[name][2]}")
assert found["plain"] == ((64, 32, 0, []), (64, 32), (64, 32))
frame, read, played = found["with EXIF"]
assert frame[:3] == (64, 32, -90), "PyAV tells the rotation in another way now: the behaviour has changed"
assert "not a valid Type" in frame[3], "side_data can be read now: the behaviour has changed"
assert read == (32, 64) and played == (64, 32), "OpenCV's readers agree now: the behaviour has changed"
print("as described: side_data raises, and OpenCV's readers differ")
PYTHON
