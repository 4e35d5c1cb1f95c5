"""Clips made of real image material: a real place, and a person cut out of another clip who walks through it.

With noise, rain or light, as a camera encodes it; and how much of what a model detects in all frames is left in those
that the gate lets through.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import numpy.typing as npt

from elastic_inference.adapters.source.file import FileSource
from tests.support.gated_clips import FPS, GROUP_S, Gated, overlap

Image = npt.NDArray[np.uint8]
Box = tuple[float, float, float, float]
SIZE = (640, 360)
# In the clip of bikes: a cyclist who stands, and what of the image he takes.
_PERSON_FRAME, _PERSON = 125, (352, 2, 134, 260)
ENCODERS: Mapping[str, dict[str, str]] = {
    "libx264": {"preset": "veryfast", "crf": "26", "sc_threshold": "0"},
    "libx265": {"preset": "ultrafast", "crf": "28", "x265-params": "log-level=none:pools=none:frame-threads=1"},
}


def frame_of(clip: Path, number: int) -> Image:
    """One frame of a clip, BGR."""
    with av.open(str(clip)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == number:
                return np.asarray(frame.to_ndarray(format="bgr24"))
    raise ValueError(f"{clip} has no frame {number}")


def place(clip: Path) -> Image:
    """What a fixed camera shows where nothing moves: the median of a clip's frames."""
    with av.open(str(clip)) as container:
        frames = [
            cv2.resize(frame.to_ndarray(format="bgr24"), SIZE, interpolation=cv2.INTER_AREA)
            for index, frame in enumerate(container.decode(video=0))
            if index % 25 == 0
        ]
    return np.median(np.stack(frames), axis=0).astype(np.uint8)


def person(clip: Path) -> npt.NDArray[np.float32]:
    """The cyclist of the clip of bikes without what is behind him: B, G, R, and 0 to 1 how much of a pixel is his."""
    image = frame_of(clip, _PERSON_FRAME)
    left, top, width, height = _PERSON
    mask = np.zeros(image.shape[:2], np.uint8)
    cv2.setRNGSeed(1)
    cv2.grabCut(image, mask, _PERSON, np.zeros((1, 65)), np.zeros((1, 65)), 4, cv2.GC_INIT_WITH_RECT)
    own = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.float32)
    cut = np.dstack((image.astype(np.float32), cv2.GaussianBlur(own, (3, 3), 0)))
    return cut[top : top + height, left : left + width]


@dataclass(frozen=True)
class Walk:
    """Somebody `height` pixels tall walks in at the left, at `begin_s`; `stands_s` later he stands still for good."""

    begin_s: float
    pixels_a_second: float
    height: int
    walks_s: float = 1e9


@dataclass(frozen=True)
class RealScene:
    """What a clip shows."""

    seconds: float
    noise: float = 1.5
    brightness: float = 1.0
    rain: int = 0
    light_at_s: float | None = None
    walk: Walk | None = None

    def image(self, at_s: float, ground: Image, cut: npt.NDArray[np.float32], chance: np.random.Generator) -> Image:
        image = ground.astype(np.float32)
        if self.walk is not None and at_s >= self.walk.begin_s:
            self._paste(image, at_s, self.walk, cut)
        image *= self.brightness
        if self.light_at_s is not None and at_s < self.light_at_s:
            image *= 0.45
        for _ in range(self.rain):
            x, y = int(chance.integers(0, SIZE[0])), int(chance.integers(0, SIZE[1] - 14))
            image[y : y + 14, x] += 35
        # The noise of a sensor is that of its light, not of its colours.
        image += chance.normal(0, self.noise, image.shape[:2]).astype(np.float32)[:, :, None]
        return np.clip(image, 0, 255).astype(np.uint8)

    def _paste(self, image: npt.NDArray[np.float32], at_s: float, walk: Walk, cut: npt.NDArray[np.float32]) -> None:
        scale = walk.height / cut.shape[0]
        small = cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        x = -small.shape[1] + min(at_s - walk.begin_s, walk.walks_s) * walk.pixels_a_second
        y = SIZE[1] * 0.62 - walk.height / 2
        moved = np.array([[1, 0, x], [0, 1, y]], np.float32)
        layer = cv2.warpAffine(small, moved, SIZE, flags=cv2.INTER_LINEAR)
        share = layer[:, :, 3:]
        image += (layer[:, :, :3] - image) * share

    def write(self, path: Path, ground: Image, cut: npt.NDArray[np.float32], encoder: str = "libx264") -> Path:
        """As a camera encodes it: constant quality, a key frame every two seconds."""
        chance = np.random.default_rng(5)
        with av.open(str(path), "w") as container:
            stream = container.add_stream(encoder, rate=Fraction(FPS))
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            stream.options = {"threads": "1", "g": str(FPS * GROUP_S), "bf": "0", **ENCODERS[encoder]}
            for number in range(int(self.seconds * FPS)):
                image = self.image(number / FPS, ground, cut, chance)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "bgr24").reformat(format="yuv420p")))
            container.mux(stream.encode(None))
        return path


@dataclass(frozen=True)
class Recall:
    """Of what the model detects in all frames, and what of that is left behind the gate.

    `seconds` are those of each object, `moments` all detections in the frames that the model sees.
    """

    seconds: int
    seconds_left: int
    moments: int
    moments_left: int


def recall(clip: Path, gated: Gated, detect: Callable[[Image], Sequence[Box]], every: int = 3) -> Recall:
    """What is left, second by second and object by object; the model sees every third frame.

    A second of an object counts as left if the newest frame that had passed shows the object where it is, at one of the
    moments of that second at which the model detects it.
    """
    shown: list[Box] = []
    waiting: Image | None = None  # the newest frame that has passed, as long as the model has not seen it
    before: list[tuple[int, Box]] = []
    tracks = 0
    found: dict[tuple[int, int], list[bool]] = {}
    source = FileSource(clip)
    for number, passed in enumerate(gated.passed):
        source.grab(lambda: None)
        looked = number % every == 0
        frame = source.retrieve().image
        if not (looked or passed) or frame is None:
            continue
        image = frame.to_ndarray(format="bgr24")
        if passed:
            waiting = image
        if not looked:
            continue
        boxes = list(detect(image))
        if waiting is not None:
            shown = boxes if passed else list(detect(waiting))
            waiting = None
        now: list[tuple[int, Box]] = []
        for box in boxes:
            same = next((track for track, other in before if overlap(box, other) >= 0.3), None)
            if same is None:
                same, tracks = tracks, tracks + 1
            now.append((same, box))
            left = any(overlap(box, other) >= 0.5 for other in shown)
            found.setdefault((same, number // FPS), []).append(left)
        before = now or before
    source.close()
    moments = [left for each in found.values() for left in each]
    return Recall(len(found), sum(map(any, found.values())), len(moments), sum(moments))
