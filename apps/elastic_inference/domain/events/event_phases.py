"""The life of events: begin, update, end. Pure; called by `StreamAnalysis`.

An open event is a `Life`: its id, its revision and when it began. An event that a worker makes twice gets the same
id, since the id consists of the stream, the epoch, the frame's order, the rule and the object's number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from elastic_inference.domain import keys
from elastic_inference.domain.events.event import Direction, Event, EventKind, Phase
from elastic_inference.domain.events.tracker import Track

OBJECT_RULE = "object"


@dataclass(slots=True)
class Life:
    """An event that has begun: at `began_s` by the stream's clock, at `began_ms` by Redis' clock."""

    id: str
    kind: EventKind
    zone: str | None
    label: str
    began_s: float
    began_ms: float
    rev: int = 1
    top: float = 0.0
    told_s: float = 0.0  # the last revision's time
    told: tuple[Any, ...] = ()  # the zones and the label in the last revision

    def pack(self) -> list[Any]:
        """Everything, for `unpack`."""
        return [getattr(self, name) for name in self.__slots__]

    @classmethod
    def unpack(cls, packed: list[Any]) -> Life:
        """The life of `pack`'s list."""
        identity, kind, *rest, told = packed
        return cls(identity, EventKind(kind), *(*rest, tuple(_frozen(each) for each in told)))


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


@dataclass(slots=True)
class Moment:
    """The stream's current frame and time, from which new events get their ids and times."""

    stream: str
    epoch: int
    order: int = 0
    now_s: float = 0.0  # the stream's own clock, which never goes back
    now_ms: float = 0.0  # the same moment by Redis' clock
    camera: str = field(init=False)
    type: str = field(init=False)

    def __post_init__(self) -> None:
        named = keys.split_stream_id(self.stream)
        if named is None:
            raise ValueError(f"{self.stream!r} is not a stream id: expected <name>:<type>:inferred")
        self.camera, self.type = named

    def ms(self, at_s: float) -> float:
        """Converts a time of the stream's clock to Redis' clock."""
        return self.now_ms - (self.now_s - at_s) * 1000.0

    def track_id(self, track: Track) -> str:
        """The id of a track, which is never used again."""
        return f"{self.stream}/{track.epoch}-{track.n}"

    def event_id(self, rule: str, number: int) -> str:
        """The id of an event that starts with this frame."""
        return f"{self.stream}/{self.epoch}-{self.order}-{rule}-{number}"


class Narrator:
    """Makes the events of one stream."""

    def __init__(self, moment: Moment) -> None:
        self._moment = moment

    def begin(
        self, kind: EventKind, zone: str | None, track: Track, began_s: float, zones: tuple[str, ...]
    ) -> tuple[Life, Event]:
        """A new event and its first revision."""
        rule = OBJECT_RULE if zone is None else f"{kind}.{zone}"
        moment = self._moment
        life = Life(moment.event_id(rule, track.n), kind, zone, track.label, began_s, moment.ms(began_s))
        life.top, life.told_s, life.told = track.confidence, moment.now_s, (zones, track.label, track.confidence)
        at_s = moment.now_s if kind is EventKind.DWELL else began_s
        return life, self._event(life, Phase.BEGIN, track, zones=zones, at_s=at_s)

    def update(self, life: Life, track: Track, zones: tuple[str, ...]) -> Event:
        """Another revision of an open event."""
        life.rev += 1
        life.label = track.label
        life.told_s, life.told = self._moment.now_s, (zones, track.label, life.top)
        return self._event(life, Phase.UPDATE, track, zones=zones, at_s=self._moment.now_s)

    def end(self, life: Life, track: Track, ended_s: float, zones: tuple[str, ...]) -> Event:
        """The last revision of an open event."""
        life.rev += 1
        return self._event(life, Phase.END, track, zones=zones, at_s=max(ended_s, life.began_s))

    def crossing(self, line: str, track: Track, at_s: float, inward: bool, zones: tuple[str, ...]) -> Event:
        """The event of a crossed line, which has a single revision."""
        life = Life(
            self._moment.event_id(f"{EventKind.LINE}.{line}", track.n),
            *(EventKind.LINE, line, track.label, at_s, self._moment.ms(at_s)),
            top=track.confidence,
        )
        direction = Direction.IN if inward else Direction.OUT
        return self._event(life, Phase.END, track, zones=zones, at_s=at_s, direction=direction)

    def _event(
        self,
        life: Life,
        phase: Phase,
        track: Track,
        *,
        zones: tuple[str, ...],
        at_s: float,
        direction: Direction | None = None,
    ) -> Event:
        moment = self._moment
        duration_s = at_s - life.began_s
        at_ms = life.began_ms + duration_s * 1000.0
        return Event(
            id=life.id,
            rev=life.rev,
            kind=life.kind,
            phase=phase,
            camera=moment.camera,
            stream=moment.stream,
            type=moment.type,
            label=life.label,
            track=moment.track_id(track),
            zone=life.zone,
            direction=direction,
            confidence=track.confidence,
            top_confidence=max(life.top, track.confidence),
            box=track.box,
            zones=zones,
            began_ms=life.began_ms,
            at_ms=at_ms,
            ended_ms=at_ms if phase is Phase.END else None,
            duration_s=duration_s,
        )
