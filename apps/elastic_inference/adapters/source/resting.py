"""Decides which packets of a quiet stream are decoded: only key frames, until the packets between them grow.

Called by `container`. The packets since the last key frame are kept, so that decoding can continue at any moment.
Independent of FFmpeg.
"""

from __future__ import annotations

from collections import deque
from typing import Generic, Protocol, TypeVar

import numpy as np

# How much of a group of pictures may be kept. A stream with longer groups is always decoded completely.
MAX_PACKETS, MAX_BYTES = 150, 4 << 20
# At least this many packets are decoded before the stream may rest.
_LEARN = 24
_WINDOW = 6
# A distant walker adds at least this many bytes to a packet: where sizes vary by more, they say nothing.
_WALKER_BYTES = 200.0
_PIXELS_PER_BYTE = 4000.0
# Growth, as a multiple of the usual deviation of a window's mean, and as a share of it.
_DEVIATIONS, _SHARE = 5.0, 0.15
_FOLLOW = 1 / 64


class _Packet(Protocol):
    @property
    def size(self) -> int: ...


P = TypeVar("P", bound=_Packet)


class PacketSizes:
    """The usual size of the packets between key frames, in bytes, and whether they grow."""

    def __init__(self) -> None:
        self._seen: deque[int] = deque(maxlen=_LEARN)
        self._recent: deque[float] = deque(maxlen=_WINDOW)
        self._mean = self._rise = 0.0

    def learn(self, size: int) -> None:
        """Takes a packet of a stream that is decoded."""
        self._seen.append(size)

    def settle(self, pixels: int) -> bool:
        """Takes the sizes seen so far as usual; False if they are too few, or vary too much for growth to show."""
        if len(self._seen) < _LEARN:
            return False
        seen = np.array(self._seen, np.float64)
        means = np.convolve(seen, np.full(_WINDOW, 1 / _WINDOW), "valid")
        self._mean = float(seen.mean())
        deviation = max(float(means.std()), float(seen.std()) / _WINDOW)
        walker = max(_WALKER_BYTES, pixels / _PIXELS_PER_BYTE)
        self._rise = max(_DEVIATIONS * deviation, _SHARE * self._mean, walker / 12)
        self._recent.clear()
        self._recent.extend([self._mean] * _WINDOW)
        return self._rise <= walker

    def grows(self, size: int) -> bool:
        """Takes a packet of a stream that rests; returns whether the last ones are larger than usual."""
        self._recent.append(size)
        mean = sum(self._recent) / _WINDOW
        if mean > self._mean + self._rise:
            return True
        self._mean += (mean - self._mean) * _FOLLOW
        return False


class Resting(Generic[P]):
    """One stream's packets. `asked`: nothing moves, so the stream rests from the next key frame on.

    `asked` may be set by any thread; all else belongs to the thread that reads.
    """

    def __init__(self) -> None:
        self.asked = False
        self.rests = False
        self._sizes = PacketSizes()
        self._kept: list[P] = []
        self._bytes = 0
        self._packets = 0  # of this group
        self._fits = False  # the last group would have fitted
        self._awake = 0  # packets since it began or woke

    def key(self, packet: P, pixels: int) -> bool:
        """Takes a key frame; returns whether the stream rests from here on."""
        self._fits = 0 < self._packets <= MAX_PACKETS and self._bytes <= MAX_BYTES
        self._packets, self._bytes = 1, packet.size
        if not self.asked:
            self.rests = False
        elif not self.rests and self._fits and self._awake >= _LEARN:
            self.rests = self._sizes.settle(pixels)
        self._kept = [packet] if self.rests else []
        return self.rests

    def between(self, packet: P) -> list[P] | None:
        """Takes another packet. Returns None to skip it, else the packets to decode, the last of which is `packet`."""
        self._packets += 1
        self._bytes += packet.size
        if not self.rests:
            self._awake += 1
            self._sizes.learn(packet.size)
            return [packet]
        self._kept.append(packet)
        full = self._packets > MAX_PACKETS or self._bytes > MAX_BYTES
        if not (full or self._sizes.grows(packet.size)) and self.asked:
            return None
        kept, self._kept = self._kept, []
        self.rests, self._awake = False, 0
        return kept
