"""Clips of a fixed camera, made with numpy: noise, rain, light, people who walk; and what the gate does with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
import numpy.typing as npt

from elastic_inference.adapters.source.file import FileSource
from elastic_inference.flows.produce.motion_gate import MotionGate

FPS = 15
GROUP_S = 2
Image = npt.NDArray[np.float32]
_CLOTHES: Image = np.random.default_rng(3).normal(0, 12, (256, 128)).astype(np.float32)
_GRAIN_SIZE = (400, 700)
# Twice in each direction: a part of it is the same noise, from another corner.
_GRAIN: Image = np.tile(np.random.default_rng(7).normal(0, 1, _GRAIN_SIZE).astype(np.float32), (2, 2))
Box = tuple[float, float, float, float]
# Levels of the sensor's noise.
DAY, NIGHT = 2.0, 9.0


class Walker(NamedTuple):
    """Somebody `height` pixels tall who comes in at the left at `begin_s`, walks for `walks_s`, then stands still."""

    begin_s: float
    pixels_a_second: float
    height: int
    walks_s: float = 1e9
    level: float = 45.0

    def box(self, at_s: float, size: tuple[int, int]) -> Box | None:
        """Where it is, None while it is not wholly in the image."""
        width = self.height * 0.4
        x = -width + (min(at_s - self.begin_s, self.walks_s)) * self.pixels_a_second
        y = size[1] * 0.55
        if at_s < self.begin_s or x < 0 or x + width > size[0]:
            return None
        return x, y, x + width, y + self.height


@dataclass(frozen=True)
class Scene:
    """What a clip shows."""

    seconds: float
    noise: float = DAY
    brightness: float = 1.0
    rain: int = 0  # streaks in each frame
    light_at_s: float | None = None
    walkers: tuple[Walker, ...] = ()
    size: tuple[int, int] = (640, 360)

    def boxes(self, at_s: float) -> list[Box | None]:
        return [each.box(at_s, self.size) for each in self.walkers]

    def image(self, at_s: float, ground: Image, chance: np.random.Generator) -> npt.NDArray[np.uint8]:
        image = ground * self.brightness
        if self.light_at_s is not None and at_s < self.light_at_s:
            image *= 0.45
        for walker, box in zip(self.walkers, self.boxes(at_s), strict=True):
            if box is not None:
                _draw(image, box, walker.level)
        for _ in range(self.rain):
            x, y = int(chance.integers(0, self.size[0])), int(chance.integers(0, self.size[1] - 14))
            image[y : y + 14, x] += 35
        # The same noise, each time from another corner: to make it takes longer than to encode the frame.
        y, x = (side - int(chance.integers(0, side)) for side in _GRAIN_SIZE)
        image += _GRAIN[y : y + self.size[1], x : x + self.size[0]] * np.float32(self.noise)
        return np.clip(image, 16, 235, out=image).astype(np.uint8)

    def write(self, path: Path) -> Path:
        """As a camera encodes it: H.264 of constant quality, a key frame every two seconds."""
        chance = np.random.default_rng(5)
        ground = _ground(self.size, chance)
        with av.open(str(path), "w") as container:
            stream = container.add_stream("libx264", rate=Fraction(FPS))
            stream.width, stream.height = self.size
            stream.pix_fmt = "yuv420p"
            group = {"g": str(FPS * GROUP_S), "bf": "0", "sc_threshold": "0"}
            stream.options = {"preset": "veryfast", "threads": "1", "crf": "26", **group}
            for number in range(int(self.seconds * FPS)):
                luma = self.image(number / FPS, ground, chance)
                grey = np.full((self.size[1] // 2, self.size[0]), 128, np.uint8)
                frame = av.VideoFrame.from_ndarray(np.concatenate((luma, grey)), "yuv420p")
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        return path


def _ground(size: tuple[int, int], chance: np.random.Generator) -> Image:
    """A wall with a few areas, and some texture that stays."""
    image = np.full((size[1], size[0]), 110, np.float32)
    image[size[1] // 2 :] = 80
    for _ in range(12):
        x, y = int(chance.integers(0, size[0])), int(chance.integers(0, size[1]))
        image[y : y + size[1] // 5, x : x + size[0] // 6] += float(chance.integers(-30, 31))
    return image + chance.normal(0, 4, image.shape).astype(np.float32)


def _draw(image: Image, box: Box, level: float) -> None:
    """A person with edges between the pixels, so that it can move by a part of one."""
    x1, y1, x2, y2 = box
    ys, xs = np.arange(int(y1), min(int(y2) + 1, image.shape[0])), np.arange(int(x1), min(int(x2) + 1, image.shape[1]))
    cover_x = np.clip(np.minimum(xs + 1, x2) - np.maximum(xs, x1), 0, 1)
    cover_y = np.clip(np.minimum(ys + 1, y2) - np.maximum(ys, y1), 0, 1)
    # Trousers are darker than a shirt.
    shade = np.where(ys < (y1 + y2) / 2, level, -level)
    # The pattern of the clothes moves with them.
    pattern = _CLOTHES[: len(ys), : len(xs)]
    image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] += (shade[:, None] + pattern) * cover_y[:, None] * cover_x[None, :]


@dataclass
class Gated:
    """What became of each frame of a clip."""

    passed: list[bool] = field(default_factory=list)
    quiet: list[bool] = field(default_factory=list)
    decoded: int = 0

    def shown(self, boxes_at: Callable[[float], list[Box | None]]) -> tuple[float, float]:
        """What is left of the time in which objects are visible: (of whole seconds of each object, of its frames).

        A frame counts if the newest frame that has passed shows the object there, a second if one of its frames counts.
        """
        seen: dict[tuple[int, int], list[bool]] = {}
        newest: list[Box | None] = []
        for number, passed in enumerate(self.passed):
            now = boxes_at(number / FPS)
            newest = now if passed else newest
            for index, box in enumerate(now):
                if box is not None:
                    before = newest[index] if newest else None
                    good = before is not None and overlap(box, before) >= 0.5
                    seen.setdefault((index, number // FPS), []).append(good)
        if not seen:
            return 1.0, 1.0
        frames = [good for each in seen.values() for good in each]
        return sum(map(any, seen.values())) / len(seen), sum(frames) / len(frames)

    @property
    def share(self) -> float:
        """Of the frames that passed."""
        return sum(self.passed) / len(self.passed)


def run(path: Path, frames: int, watched: Callable[[float], bool] = lambda _: False) -> Gated:
    """One stream's way through the gate, as fast as it can be read."""
    found, gate, source = Gated(), MotionGate(), FileSource(path)

    def skip(_: float | None) -> None:
        gate.skip()
        found.passed.append(False)
        found.quiet.append(True)

    while len(found.passed) < frames:
        now = source.grab(lambda: None)
        assert now is not None
        found.decoded += 1
        found.passed.append(gate.admit(source.retrieve(), now, watched=watched(now)))
        found.quiet.append(gate.quiet)
        source.rest(gate.quiet, skip)
    source.close()
    return found


def overlap(one: Box, other: Box) -> float:
    """Intersection over union."""
    width = max(0.0, min(one[2], other[2]) - max(one[0], other[0]))
    height = max(0.0, min(one[3], other[3]) - max(one[1], other[1]))
    both = width * height
    return both / (sum((box[2] - box[0]) * (box[3] - box[1]) for box in (one, other)) - both)
