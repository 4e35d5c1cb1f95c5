"""A camera's main stream and its substream: the substream is read while nobody watches, the main one otherwise.

Called by `stream`. The other stream is opened beside the one that is read, and takes its place with its first frame, so
that no frame is missing between them. If one of the two can't be used, the other is read.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

from elastic_inference.adapters.source.captured_frame import CapturedFrame, Source
from elastic_inference.adapters.source.source_facts import SourceFacts
from elastic_inference.base.backoff import Backoff
from elastic_inference.base.crash_mark import marked
from elastic_inference.domain.errors import SourceError
from elastic_inference.flows.produce.source_reader import PART

log = logging.getLogger(__name__)
# The first answer of the queue usually comes within 0.3 s. Without any, the main stream is read: somebody may watch.
FIRST_ANSWER_S = 3.0
# A stream that can't be used is retried after this time, which doubles up to the second number.
PAUSE_S = (4.0, 60.0)
# From this relative difference of proportions on, boxes of one stream would be misplaced in the other.
_OTHER_SHAPE = 0.1
# After this many failures to open a stream beside the other, it is opened once the other has ended: the camera may
# allow only one session.
_TRIES_BESIDE = 2
_NO_MATTER_OF_SESSIONS = ("(401)", "(403)", "(404)")


class Kind(StrEnum):
    """The two streams of a camera, in words for logs and errors."""

    MAIN = "main stream"
    SUB = "substream"

    @property
    def other(self) -> Kind:
        """The other stream."""
        return Kind.SUB if self is Kind.MAIN else Kind.MAIN


class StreamChoice:
    """Decides which stream of one camera to read, and keeps what is known about both. It outlives the connections."""

    def __init__(self, name: str, main: Callable[[], Source], sub: Callable[[], Source]) -> None:
        """`main` and `sub` open one of them. Raise SourceError."""
        self.name = name
        self._openers = {Kind.MAIN: main, Kind.SUB: sub}
        self._pauses = {kind: Backoff(*PAUSE_S) for kind in Kind}
        self._retry_at = dict.fromkeys(Kind, float("-inf"))
        self._beside = dict.fromkeys(Kind, 0)
        self._whys: dict[Kind, str] = {}
        self._sizes: dict[Kind, tuple[int, int]] = {}
        self._decided = threading.Event()
        self._began = time.monotonic()
        self.closed = False
        self.wanted = Kind.SUB
        self.reading: Kind | None = None
        self.helper: threading.Thread | None = None  # opens the other stream

    @property
    def note(self) -> str | None:
        """Why the preferred stream is not read, in a sentence."""
        if self.reading is None or self.reading is self.wanted or (why := self._whys.get(self.wanted)) is None:
            return None
        return f"The {self.wanted} can't be used, the {self.reading} is read instead: {why}"

    @property
    def opening(self) -> bool:
        """Whether one of them is opened beside the other now."""
        return self.helper is not None and self.helper.is_alive()

    def decide(self, watched: bool | None, now: float) -> None:
        """Call a few times a second. `watched`: whether somebody watches, None if that is unknown."""
        if watched is None and (self._decided.is_set() or now - self._began < FIRST_ANSWER_S):
            return
        self.wanted = Kind.SUB if watched is False else Kind.MAIN
        self._decided.set()

    def open(self) -> Source:
        """Opens the stream that is to be read, or the other one after a failure. Raises SourceError."""
        self._decided.wait(2 * FIRST_ANSWER_S)
        self.reading = None
        kind = self.wanted
        if not self.may_open(kind) and self.may_open(kind.other):
            kind = kind.other
        try:
            return BothStreams(self, kind, self.open_stream(kind))
        except SourceError as error:
            raise self.failed(kind, error) from None

    def close(self) -> None:
        """Call when the camera ends."""
        self.closed = True
        self._decided.set()

    def may_open(self, kind: Kind) -> bool:
        """False for a while after a failure."""
        return time.monotonic() >= self._retry_at[kind]

    def open_stream(self, kind: Kind) -> Source:
        """Opens one of the two. Raises SourceError."""
        return self._openers[kind]()

    def failed(self, kind: Kind, error: SourceError) -> SourceError:
        """Records that a stream can't be opened or broke off; returns the error to raise."""
        self._whys[kind] = str(error)
        self._retry_at[kind] = time.monotonic() + self._pauses[kind].next_s()
        # Only the main stream decides that a camera can't work as configured.
        return error if kind is Kind.MAIN else SourceError(str(error))

    def delivers(self, kind: Kind) -> None:
        """Records the first frame of the stream that is now read."""
        self.reading = kind
        self._pauses[kind].reset()
        self._whys.pop(kind, None)
        self._beside[kind] = 0

    def only_alone(self, kind: Kind, error: SourceError) -> bool:
        """Records that a stream could not be opened beside the other; True if the other has to end first this time."""
        if any(code in str(error) for code in _NO_MATTER_OF_SESSIONS):
            return False
        self._beside[kind] += 1
        if self._beside[kind] != _TRIES_BESIDE:
            return False
        self._retry_at[kind] = float("-inf")
        return True

    def check_shape(self, kind: Kind, size: tuple[int, int]) -> None:
        """Raises SourceError if the substream's proportions are not those of the main stream, as far as both are known.

        Boxes are relative to the image.
        """
        self._sizes[kind] = size
        main, sub = self._sizes.get(Kind.MAIN), self._sizes.get(Kind.SUB)
        if main is None or sub is None or abs(sub[0] * main[1] / (sub[1] * main[0]) - 1) <= _OTHER_SHAPE:
            return
        why = SourceError(
            f"its proportions ({sub[0]}x{sub[1]}) are not those of the main stream ({main[0]}x{main[1]}). "
            "Expected another size of the substream: change it in the camera."
        )
        self.failed(Kind.SUB, why)
        if kind is Kind.SUB:
            raise why


class BothStreams:
    """An open camera: reads one stream, and changes to the other when that is wanted. See `Source`."""

    def __init__(self, choice: StreamChoice, kind: Kind, source: Source) -> None:
        self._choice = choice
        self._kind = kind
        self._source = source
        self._lock = threading.Lock()
        self._rest: tuple[bool, Callable[[float | None], None]] | None = None
        self._thin: tuple[Callable[[float], bool], Callable[[], None]] | None = None
        self._ready: tuple[Kind, Source, float | None] | None = None
        self._opens = False
        self._ends_for: Kind | None = None  # the stream that can be opened only when this one has ended
        self._delivers = False
        self._closed = False

    def grab(self, on_data: Callable[[], None]) -> float | None:
        """See `Source`. The first frame of the other stream takes the place of the next one of this stream."""
        if (ready := self._ready) is not None:
            return self._change(*ready)
        if self._ends_for is not None:
            raise SourceError(f"The {self._kind} ends, so that the {self._ends_for} can be opened.")
        wanted = self._choice.wanted
        if wanted is not self._kind and not self._opens and self._choice.may_open(wanted):
            self._opens = True
            opens = marked(f"{PART} of {self._choice.name}", self._open)
            self._choice.helper = threading.Thread(target=opens, args=(wanted,), name="other stream", daemon=True)
            self._choice.helper.start()
        try:
            media_s = self._source.grab(on_data)
        except SourceError as error:
            if (ready := self._ready) is not None:
                return self._change(*ready)
            raise self._choice.failed(self._kind, error) from None
        if not self._delivers:
            self._note_first()
        return media_s

    def retrieve(self) -> CapturedFrame:
        """See `Source`."""
        frame = self._source.retrieve()
        return replace(frame, small=True) if self._kind is Kind.SUB else frame

    def rest(self, quiet: bool, on_skip: Callable[[float | None], None]) -> None:
        """See `Source`."""
        with self._lock:
            self._rest = quiet, on_skip
            self._source.rest(quiet, on_skip)

    def thin(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        """See `Source`."""
        self._thin = wants, on_skip
        self._source.thin(wants, on_skip)

    def facts(self) -> SourceFacts:
        """See `Source`."""
        return self._source.facts()

    def interrupt(self) -> None:
        """See `Source`."""
        self._source.interrupt()

    def close(self) -> None:
        """Closes both."""
        with self._lock:
            self._closed = True
            ready, self._ready = self._ready, None
        if ready is not None:
            ready[1].close()
        self._source.close()

    def _change(self, kind: Kind, source: Source, media_s: float | None) -> float | None:
        with self._lock:
            before, self._kind, self._source, self._ready = self._source, kind, source, None
            if self._rest is not None:
                self._source.rest(*self._rest)
            if self._thin is not None:
                self._source.thin(*self._thin)
        # A server may take its time to answer the goodbye.
        threading.Thread(target=before.close, name="other stream's end", daemon=True).start()
        self._opens = False
        self._note_first()
        log.info("%s: now reads its %s", self._choice.name, kind)
        return media_s

    def _note_first(self) -> None:
        self._delivers = True
        self._check_shape(self._kind, self._source)
        self._choice.delivers(self._kind)

    def _check_shape(self, kind: Kind, source: Source) -> None:
        facts = source.facts()
        if facts.width and facts.height:
            self._choice.check_shape(kind, (facts.width, facts.height))

    def _open(self, kind: Kind) -> None:
        """The helper's thread: opens the other stream and waits for its first frame."""
        source: Source | None = None
        try:
            source = self._choice.open_stream(kind)
            media_s = source.grab(lambda: None)
            self._check_shape(kind, source)
        except Exception as error:
            if source is not None:
                source.close()
            known = isinstance(error, SourceError)
            log.warning("%s: its %s can't be used: %s", self._choice.name, kind, error, exc_info=not known)
            why = error if isinstance(error, SourceError) else SourceError("a bug: see the log.")
            self._choice.failed(kind, why)
            if self._choice.only_alone(kind, why):
                self._ends_for = kind
            self._opens = False
            return
        with self._lock:
            if not (self._closed or self._choice.closed):
                self._ready = kind, source, media_s
                return
        source.close()
