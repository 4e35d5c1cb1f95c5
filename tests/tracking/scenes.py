"""TUD-Stadtmitte: people on a street, detections and ground truth of the MOT challenge, 25 frames a second.

Boxes are shares of the frame. Nothing here needs the package's environment: the compared library has one of its own.
"""

from __future__ import annotations

from pathlib import Path

SCENE = Path(__file__).resolve().parents[3] / "shared" / "tracking" / "TUD-Stadtmitte"
WIDTH, HEIGHT = 640, 480
FPS = 25
FRAMES = 179
# Every frame, every 5th, every 12th: 25, 5 and 2.1 a second.
STEPS = (1, 5, 12)

Box = tuple[float, float, float, float]
Boxes = list[tuple[int, float, Box]]  # the object's number, the confidence, the box


def read(name: str) -> dict[int, Boxes]:
    """`det` or `gt` by frame, from 1."""
    frames: dict[int, Boxes] = {number: [] for number in range(1, FRAMES + 1)}
    for line in (SCENE / f"{name}.txt").read_text().splitlines():
        number, identity, x, y, w, h, confidence, *_ = map(float, line.split(","))
        box = (x / WIDTH, y / HEIGHT, (x + w) / WIDTH, (y + h) / HEIGHT)
        frames[int(number)].append((int(identity), confidence, box))
    return frames


def kept(step: int, phase: int) -> list[int]:
    """The frames of a slower camera that starts at `phase`."""
    return list(range(1 + phase, FRAMES + 1, step))
