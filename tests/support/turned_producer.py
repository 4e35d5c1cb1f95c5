"""A plain producer of two streams that show the same image: `upright`, and `turned`, which lies on its side.

The image of `turned` says so by its EXIF orientation, as a phone's does. Started as a process by the dashboard's
end-to-end tests; it pushes the legacy message until its standard input ends.

    python tests/support/turned_producer.py --queue-url redis://127.0.0.1:6379/0 --type face --clip CLIP
"""

from __future__ import annotations

import argparse
import select
import sys
from pathlib import Path

import av
import msgpack
import numpy as np
import redis
import simplejpeg
from PIL import Image

from elastic_inference.domain import keys

EVERY_S = 0.25
# To be turned clockwise by a quarter, as the camera of a phone that is held upright writes it.
ORIENTATION = 6
_TAG = 0x0112
# A tile of the dashboard then shows less than half of it.
ENLARGED = 2


def images(clip: Path) -> tuple[bytes, bytes]:
    """The clip's first frame, upright and on its side."""
    with av.open(str(clip)) as opened:
        frame = next(opened.decode(video=0))
    pixels = frame.reformat(frame.width * ENLARGED, frame.height * ENLARGED, "rgb24").to_ndarray()
    return _jpeg(pixels, 1), _jpeg(np.rot90(pixels), ORIENTATION)


def _jpeg(pixels: np.ndarray, orientation: int) -> bytes:
    plain: bytes = simplejpeg.encode_jpeg(np.ascontiguousarray(pixels), 95, colorsubsampling="444")
    exif = Image.Exif()
    exif[_TAG] = orientation
    data = exif.tobytes()
    return plain[:2] + b"\xff\xe1" + (len(data) + 2).to_bytes(2, "big") + data + plain[2:]


def main() -> None:
    """Pushes one image of each stream every quarter of a second."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue-url", required=True)
    parser.add_argument("--type", required=True)
    parser.add_argument("--clip", type=Path, required=True)
    arguments = parser.parse_args()
    pushed = dict(zip(("upright", "turned"), images(arguments.clip), strict=True))
    with redis.Redis.from_url(arguments.queue_url) as client:
        while not select.select([sys.stdin], [], [], EVERY_S)[0]:
            for name, data in pushed.items():
                message = {"name": name, "category": arguments.type, "data": data}
                client.rpush(keys.legacy_queue(arguments.type), msgpack.packb(message))


if __name__ == "__main__":
    main()
