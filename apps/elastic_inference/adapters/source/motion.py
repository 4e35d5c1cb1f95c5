"""Detects motion in a stream's images, with a background model of mean and noise in cells of some ten pixels.

Called by `produce.motion_gate`. Cheap on purpose: half a millisecond for a 1080p frame. Noise, rain and leaves raise
what a cell tolerates. A change of light everywhere counts as motion only briefly: the background follows it.
"""

from __future__ import annotations

from collections import deque

import av
import numpy as np
import numpy.typing as npt
import simplejpeg
from av.video.reformatter import Interpolation, VideoReformatter

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.rare_jpeg import decode_rare
from elastic_inference.domain.errors import InvalidFrameError, InvalidReason
from elastic_inference.domain.frame import without_stray_bytes

_Cells = npt.NDArray[np.float32]
# Of the longer side.
CELLS = 192
# How fast the background follows, seconds: where nothing has changed, and where something has (it may stand still).
_FOLLOW_S, _FOLLOW_CHANGED_S = 3.0, 20.0
_NOISE_S, _NOISE_CHANGED_S = 4.0, 20.0
# A cell has changed if it differs by this many of its usual deviations, and by at least this many levels of 255.
_DEVIATIONS, _LEVELS = 4.0, 3.0
_FIRST_NOISE = 1.5
# This many changed cells among nine neighbours are a blob; a single cell is rain or noise.
_BLOB = 4
# A blob in the same place in this many frames in a row is an object: enough frames that the usual blobs, such as those
# of rain, are unlikely to coincide.
_LEAST_FRAMES, _MOST_FRAMES = 2, 8
_CHANCE = 0.02
_USUAL_S = 4.0
# Above this share the light has changed, or the camera has turned: the background starts again.
_ALL = 0.4


class MotionDetector:
    """Feed it a stream's frames in order. Not thread-safe."""

    def __init__(self) -> None:
        self._reformatter = VideoReformatter()
        self._ground: _Cells | None = None
        self._noise: _Cells = np.zeros((0, 0), np.float32)
        self._before: deque[npt.NDArray[np.bool_]] = deque(maxlen=_MOST_FRAMES - 1)
        self._blobs = self._covered = 0.0  # the usual number of cells in blobs, and the share of cells near them
        self._at = 0.0
        self._size: tuple[int, int] | None = None

    def reset(self) -> None:
        """The next frame is the background."""
        self._ground = None

    def moves(self, frame: CapturedFrame, now: float, *, alone: bool = False) -> bool:
        """Whether something moves; `now` is the frame's time in seconds.

        An object must be where one was in the previous frame, so that rain does not count. With `alone`, the previous
        frame is too old to compare with. Raises InvalidFrameError for an image that can't be read.
        """
        try:
            cells = self._cells(frame)
        except (av.FFmpegError, ValueError) as error:
            raise InvalidFrameError(InvalidReason.NOT_JPEG, f"it cannot be checked for motion: {error}") from None
        ground = self._ground
        # The same view at another size, such as that of a substream, differs along all edges.
        image, size_before = frame.image, self._size
        self._size = None if image is None else (image.width, image.height)
        if ground is None or ground.shape != cells.shape or self._size != size_before:
            self._start(cells, now)
            return True
        passed = min(max(now - self._at, 0.001), 2.0)
        self._at = now
        difference = cells - ground
        # Exposure and dusk change all cells by the same amount.
        difference -= np.median(difference[::4, ::4])
        size = np.abs(difference)
        changed = size > np.maximum(self._noise * _DEVIATIONS, _LEVELS)
        if np.count_nonzero(changed) > _ALL * changed.size:
            self._start(cells, now)
            return True
        blobs = changed & (_neighbours(changed) >= _BLOB)
        moves = self._is_object(blobs, alone)
        self._follow(ground, difference, size, changed, passed)
        usual = float(_rate(passed, _USUAL_S))
        self._blobs += (np.count_nonzero(blobs) - self._blobs) * usual
        self._covered += (float(self._before[-1].mean()) - self._covered) * usual
        return moves

    def _is_object(self, blobs: npt.NDArray[np.bool_], alone: bool) -> bool:
        count = np.count_nonzero(blobs)
        near = _neighbours(blobs) > 0
        needed = _LEAST_FRAMES
        while needed < _MOST_FRAMES and self._blobs * self._covered ** (needed - 1) > _CHANCE:
            needed += 1
        if alone or len(self._before) < needed - 1:
            moves = bool(count > 2 * self._blobs)
        else:
            seen = blobs
            for index in range(1, needed):
                seen = seen & self._before[-index]
            moves = bool(seen.any())
        self._before.append(near)
        return moves

    def _start(self, cells: _Cells, now: float) -> None:
        self._ground, self._at = cells, now
        self._before.clear()
        if self._noise.shape != cells.shape:
            self._noise = np.full(cells.shape, _FIRST_NOISE, np.float32)

    def _follow(
        self, ground: _Cells, difference: _Cells, size: _Cells, changed: npt.NDArray[np.bool_], passed: float
    ) -> None:
        rate = np.where(changed, _rate(passed, _FOLLOW_CHANGED_S), _rate(passed, _FOLLOW_S))
        ground += difference * rate
        rate = np.where(changed, _rate(passed, _NOISE_CHANGED_S), _rate(passed, _NOISE_S))
        # Bounded: one large difference is an object, not noise.
        square = np.minimum(size, 4 * self._noise + 1) ** 2
        self._noise = np.sqrt(self._noise**2 * (1 - rate) + square * rate)

    def _cells(self, frame: CapturedFrame) -> _Cells:
        if frame.image is None:
            data = without_stray_bytes(frame.jpeg or b"")
            try:
                grey = simplejpeg.decode_jpeg(
                    data, "GRAY", min_width=CELLS, min_height=CELLS // 2, fastdct=True, strict=False
                )
                return np.asarray(grey[:, :, 0], np.float32)
            except ValueError as refused:
                grey = decode_rare(data, "gray", refused)
                every = max(1, max(grey.shape) // CELLS)
                return grey[::every, ::every].astype(np.float32)
        width, height = frame.image.width, frame.image.height
        scale = min(1.0, CELLS / max(width, height))
        small = self._reformatter.reformat(
            frame.image,
            max(1, round(width * scale)),
            max(1, round(height * scale)),
            format="gray8",
            interpolation=Interpolation.AREA,
            threads=1,
        )
        return _rows(small).astype(np.float32)


def _rows(image: av.VideoFrame) -> npt.NDArray[np.uint8]:
    plane = image.planes[0]
    return np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _rate(passed: float, time_constant_s: float) -> np.float32:
    return np.float32(1 - np.exp(-passed / time_constant_s))


def _neighbours(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.uint8]:
    """For each cell, how many of itself and its eight neighbours are set."""
    count = mask.astype(np.uint8)
    rows = count.copy()
    rows[1:] += count[:-1]
    rows[:-1] += count[1:]
    both = rows.copy()
    both[:, 1:] += rows[:, :-1]
    both[:, :-1] += rows[:, 1:]
    return both
