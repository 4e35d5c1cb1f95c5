"""Joins the detections of one stream into tracks. Pure; called by `StreamAnalysis` with results in order.

Our own implementation, from published methods. ByteTrack (Zhang et al., 2022, arXiv:2110.06864): two rounds of
assignment, first the confident detections, then the uncertain ones, which may continue a track but never begin one.
OC-SORT (Cao et al., 2023, arXiv:2203.14360): after a gap the speed follows from the sightings before and after it, and
a further round compares with the last box seen. SORT (Bewley et al., 2016, arXiv:1602.00763): a filter of constant
speed. Unlike in these, all times are in seconds: a stream may have 25 or 2 frames a second, and lose some.

One filter (position and speed, noise relative to the object's size) serves a box's centre and its size, since all four
have the same noise. A single detection is not a track yet: it becomes one when the object is seen again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from elastic_inference.domain.events.assignment import Pair, assign

Box = tuple[float, float, float, float]
T = TypeVar("T")

MAX_TRACKS = 256
MAX_DETECTIONS = 256


class Seen(NamedTuple):
    """What the tracker needs of a detection."""

    label: str
    confidence: float
    box: Box


@dataclass(frozen=True, slots=True)
class TrackerRules:
    """Times in seconds, distances in object sizes, scores 0..1. `make bench-tracking` shows their effect."""

    sure: float = 0.6  # a confidence that may begin a track
    doubtful: float = 0.1  # a confidence that may continue one
    certain: float = 0.95  # a confidence that shows a new track's id at once; it counts from the second sighting
    confirm_s: float = 0.1  # from first to last sighting, at least
    unconfirmed_s: float = 0.25  # a track that was seen only once is discarded after this time
    lost_s: float = 3.0  # a track that was not seen for this long has ended
    overlap: float = 0.075
    doubtful_overlap: float = 0.6
    first_overlap: float = 0.2
    other_label: float = 0.5  # the overlap at which a track may get another label
    shade: float = 0.8  # a detection that overlaps a track this much begins none: the same object, found twice
    grow_per_s: float = 0.4  # how much boxes grow per second not seen, relative to their size
    jerk: float = 0.13  # the speed's random change, in sizes per second, each second
    noise: float = 0.07  # the detector's noise, in sizes
    speed: float = 0.1  # of a new object, sizes a second
    damping_s: float = 2.0  # the speed of an unseen object halves within this time


class Track:
    """An object over time. `n` is its number within the stream, `epoch` the epoch in which it began."""

    __slots__ = (
        *("epoch", "n", "label", "label_weight", "confirmed", "shown", "confidence", "top", "began_s", "seen_s", "box"),
        *("centre", "speed", "cover"),
    )

    def __init__(self, epoch: int, n: int, seen: Seen, now_s: float, rules: TrackerRules) -> None:
        self.epoch = epoch
        self.n = n
        self.label = seen.label
        self.label_weight = seen.confidence
        self.confirmed = False
        self.shown = seen.confidence >= rules.certain
        self.confidence = self.top = seen.confidence
        self.began_s = self.seen_s = now_s
        self.box = seen.box
        self.centre = _centre(seen.box)
        self.speed = (0.0, 0.0, 0.0, 0.0)
        self.cover = (rules.noise**2, 0.0, rules.speed**2)

    def predict(self, dt: float, rules: TrackerRules) -> None:
        """Moves it by its speed."""
        (x, y, w, h), (vx, vy, vw, vh) = self.centre, self.speed
        wide, high = w + vw * dt, h + vh * dt
        self.centre = (x + vx * dt, y + vy * dt, wide if wide > w / 2 else w / 2, high if high > h / 2 else h / 2)
        a, b, c = self.cover
        q = rules.jerk**2
        self.cover = (a + dt * (2 * b + dt * c) + q * dt**3 / 3, b + dt * c + q * dt * dt / 2, c + q * dt)

    def rest(self, dt: float, rules: TrackerRules) -> None:
        """Slows the track down, since it was not detected."""
        keep = 0.5 ** (dt / rules.damping_s)
        vx, vy, vw, vh = self.speed
        self.speed = (vx * keep, vy * keep, vw * keep * keep, vh * keep * keep)

    def update(self, seen: Seen, now_s: float, step_s: float, rules: TrackerRules) -> None:
        """Takes the detection that was assigned to it."""
        measured, gap_s = _centre(seen.box), now_s - self.seen_s
        a, b, c = self.cover
        if gap_s > 1.5 * step_s and gap_s > 0:
            # OC-SORT: assume a straight path between two sightings, and forget the speed guessed meanwhile.
            dx, dy, dw, dh = _less(measured, _centre(self.box))
            self.speed = (dx / gap_s, dy / gap_s, dw / gap_s, dh / gap_s)
            self.centre = measured
            self.cover = (
                rules.noise**2,
                rules.noise**2 / gap_s,
                min(c, 2 * (rules.noise / gap_s) ** 2 + rules.jerk**2 * gap_s),
            )
        else:
            s = a + rules.noise**2
            k, g = a / s, b / s
            dx, dy, dw, dh = _less(measured, self.centre)
            (x, y, w, h), (vx, vy, vw, vh) = self.centre, self.speed
            self.centre = (x + k * dx, y + k * dy, w + k * dw, h + k * dh)
            self.speed = (vx + g * dx, vy + g * dy, vw + g * dw, vh + g * dh)
            self.cover = (a - k * a, b - k * b, c - g * b)
        self._relabel(seen)
        self.confidence, self.top = seen.confidence, max(self.top, seen.confidence)
        self.seen_s, self.box = now_s, seen.box
        if not self.confirmed and now_s - self.began_s >= rules.confirm_s:
            self.confirmed = self.shown = True

    def _relabel(self, seen: Seen) -> None:
        """Keeps the label with the highest total confidence (Boyer-Moore majority vote)."""
        if seen.label == self.label:
            self.label_weight = min(self.label_weight + seen.confidence, 5.0)
        elif self.label_weight >= seen.confidence:
            self.label_weight -= seen.confidence
        else:
            self.label, self.label_weight = seen.label, seen.confidence

    def where(self) -> Box:
        """The predicted box."""
        x, y, w, h = self.centre
        return (x - w / 2, y - h / 2, x + w / 2, y + h / 2)

    def pack(self) -> list[Any]:
        """Everything, for `unpack`."""
        return [getattr(self, name) for name in self.__slots__]

    @classmethod
    def unpack(cls, packed: Sequence[Any]) -> Track:
        """The track of `pack`'s list."""
        track = cls.__new__(cls)
        for name, value in zip(cls.__slots__, packed, strict=True):
            setattr(track, name, tuple(value) if isinstance(value, list) else value)
        return track


@dataclass(slots=True)
class TrackedFrame:
    """The outcome of a frame: the track of each detection or None, and the tracks that have ended."""

    tracks: list[Track | None]
    ended: list[Track] = field(default_factory=list)


class Tracker:
    """The tracks of one stream. Not thread-safe."""

    def __init__(self, epoch: int, rules: TrackerRules | None = None) -> None:
        self.epoch = epoch
        self.rules = rules or TrackerRules()
        self.tracks: list[Track] = []
        self.count = 0
        self._now_s = 0.0
        self._step_s = 0.0

    def update(self, detections: Sequence[Seen], dt: float) -> TrackedFrame:
        """Takes a frame's detections, `dt` seconds after the last frame's."""
        rules = self.rules
        self._now_s += dt
        step_s = self._step_s = dt if self._step_s == 0 else min(dt, self._step_s) if dt > 3 * self._step_s else dt
        for track in self.tracks:
            track.predict(dt, rules)
        found: list[Track | None] = [None] * len(detections)
        sure = [n for n, each in enumerate(detections[:MAX_DETECTIONS]) if each.confidence >= rules.sure]
        doubtful = [
            n for n, each in enumerate(detections[:MAX_DETECTIONS]) if rules.doubtful <= each.confidence < rules.sure
        ]
        confirmed = [track for track in self.tracks if track.confirmed]
        rest = self._match(confirmed, detections, sure, found, overlap=rules.overlap)
        current = [track for track in rest if self._now_s - track.seen_s <= 2.5 * step_s + 0.2]
        self._match(current, detections, doubtful, found, overlap=rules.doubtful_overlap)
        rest = [track for track in rest if track.seen_s < self._now_s]
        self._match(rest, detections, sure, found, overlap=rules.first_overlap, last_seen=True)
        self._match([t for t in self.tracks if not t.confirmed], detections, sure, found, overlap=rules.first_overlap)
        for track in self.tracks:
            if track.seen_s < self._now_s:
                track.rest(dt, rules)
        ended = self._end(step_s)
        current = [track for track in self.tracks if track.seen_s == self._now_s]
        for n in sure:
            if found[n] is None and len(self.tracks) < MAX_TRACKS:
                box = detections[n].box
                if any(overlap_of(box, track.box) > rules.shade for track in current):
                    continue
                self.count += 1
                found[n] = track = Track(self.epoch, self.count, detections[n], self._now_s, rules)
                self.tracks.append(track)
        return TrackedFrame(found, ended)

    def pack(self) -> list[Any]:
        """Everything but the tracks, for `unpack`."""
        return [self.count, self._now_s, self._step_s]

    def unpack(self, packed: list[Any], tracks: list[Track]) -> None:
        """Continues from `pack`'s list with these tracks, in their original order."""
        count, now_s, step_s = packed
        self.count, self._now_s, self._step_s = int(count), float(now_s), float(step_s)
        self.tracks = tracks

    def end(self) -> list[Track]:
        """Ends all tracks; returns those that were confirmed."""
        ended, self.tracks = [track for track in self.tracks if track.confirmed], []
        return ended

    def _match(
        self,
        tracks: list[Track],
        detections: Sequence[Seen],
        free: list[int],
        found: list[Track | None],
        *,
        overlap: float,
        last_seen: bool = False,
    ) -> list[Track]:
        """Assigns free detections to tracks; returns the tracks that got none."""
        rules, now_s, pairs = self.rules, self._now_s, list[Pair]()
        left = [n for n in free if found[n] is None]
        if not left or not tracks:
            return tracks
        other = max(overlap, rules.other_label)
        # By how much they grow: nearly all tracks were seen in the same frame.
        grown: dict[float, list[tuple[int, str, Box]]] = {}
        for row, track in enumerate(tracks):
            grow = min(rules.grow_per_s * (now_s - track.seen_s), 0.5)
            if grow not in grown:
                grown[grow] = [(n, detections[n].label, _grown(detections[n].box, grow)) for n in left]
            box, label = _grown(track.box if last_seen else track.where(), grow), track.label
            a, b, c, d = box
            for n, name, each in grown[grow]:
                # Most pairs are far apart.
                if each[0] < c and each[2] > a and each[1] < d and each[3] > b:
                    score = overlap_of(box, each)
                    if score >= (overlap if name == label else other):
                        pairs.append((score, row, n))
        for row, n in assign(pairs):
            found[n] = tracks[row]
            tracks[row].update(detections[n], now_s, self._step_s, rules)
        return [track for track in tracks if track.seen_s < now_s] if pairs else tracks

    def _end(self, step_s: float) -> list[Track]:
        """Removes the tracks that were not seen for too long; returns those that were confirmed."""
        rules, now_s = self.rules, self._now_s
        kept, ended = [], []
        for track in self.tracks:
            limit_s = rules.lost_s if track.confirmed else max(rules.unconfirmed_s, 0.0)
            if now_s - track.seen_s <= max(limit_s, 2.5 * step_s if track.confirmed else 0.0):
                kept.append(track)
            elif track.confirmed:
                ended.append(track)
        self.tracks = kept
        return ended


def overlap_of(a: Box, b: Box) -> float:
    """Intersection over union."""
    a_left, a_top, a_right, a_bottom = a
    b_left, b_top, b_right, b_bottom = b
    w = (a_right if a_right < b_right else b_right) - (a_left if a_left > b_left else b_left)
    h = (a_bottom if a_bottom < b_bottom else b_bottom) - (a_top if a_top > b_top else b_top)
    if w <= 0 or h <= 0:
        return 0.0
    both = w * h
    return both / ((a_right - a_left) * (a_bottom - a_top) + (b_right - b_left) * (b_bottom - b_top) - both)


def _centre(box: Box) -> Box:
    """Centre and size."""
    return ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2, box[2] - box[0], box[3] - box[1])


def _grown(box: Box, share: float) -> Box:
    w, h = (box[2] - box[0]) * share, (box[3] - box[1]) * share
    return (box[0] - w, box[1] - h, box[2] + w, box[3] + h)


def _less(a: Box, b: Box) -> Box:
    return (a[0] - b[0], a[1] - b[1], a[2] - b[2], a[3] - b[3])
