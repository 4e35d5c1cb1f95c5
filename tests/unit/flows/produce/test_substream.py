"""Which of a camera's two streams is read, and what happens when one of them can't be."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
from tests.support.waiting import wait_for

from elastic_inference.adapters.source.captured_frame import CapturedFrame
from elastic_inference.adapters.source.source_facts import SourceFacts
from elastic_inference.domain.errors import SourceError, SourceFatalError
from elastic_inference.flows.produce.substream import FIRST_ANSWER_S, Kind, StreamChoice


class FakeStream:
    """A stream that delivers a frame whenever it is asked for one, and can be told to fail."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.error: SourceError | None = None
        self.sessions = self.opened = 0
        self.rests: list[bool] = []
        self.thinned = False

    def open(self) -> FakeStream:
        self.opened += 1
        if self.error is not None:
            raise self.error
        self.sessions += 1
        return self

    def grab(self, on_data: Callable[[], None]) -> float | None:
        time.sleep(0.005)
        on_data()
        if self.error is not None:
            raise self.error
        return 0.0

    def retrieve(self) -> CapturedFrame:
        return CapturedFrame(0.0, 0.0, jpeg=b"%dx%d" % self.size)

    def rest(self, quiet: bool, on_skip: Callable[[float | None], None]) -> None:
        self.rests.append(quiet)

    def thin(self, wants: Callable[[float], bool], on_skip: Callable[[], None]) -> None:
        self.thinned = True

    def facts(self) -> SourceFacts:
        return SourceFacts(width=self.size[0], height=self.size[1])

    def interrupt(self) -> None:
        """Nothing blocks."""

    def close(self) -> None:
        self.sessions -= 1


class Both:
    """A choice of two such streams."""

    def __init__(self) -> None:
        self.main, self.sub = FakeStream((1920, 1080)), FakeStream((640, 360))
        self.choice = StreamChoice("gate", self.main.open, self.sub.open)

    def decide(self, watched: bool | None, later_s: float = 0.0) -> None:
        self.choice.decide(watched, time.monotonic() + later_s)


@pytest.fixture
def both() -> Both:
    return Both()


def test_the_streams_change_without_a_missing_frame(both: Both) -> None:
    both.decide(False)
    source = both.choice.open()
    source.rest(True, lambda _media_s: None)
    source.thin(lambda _ahead_s: True, lambda: None)
    source.grab(lambda: None)
    assert source.retrieve().small
    assert (both.main.opened, both.sub.opened) == (0, 1)
    both.decide(True)

    def large() -> bool:
        source.grab(lambda: None)
        return not source.retrieve().small

    wait_for(large, what="the main stream")
    wait_for(lambda: both.sub.sessions == 0, what="the substream's end")
    assert both.main.rests == [True], "it rests as the other did"
    assert both.main.thinned
    assert both.choice.note is None
    source.close()
    assert both.main.sessions == 0


def test_unknown_answers_decide_nothing_but_at_the_start(both: Both) -> None:
    both.decide(None)
    assert both.choice.wanted is Kind.SUB
    both.decide(None, FIRST_ANSWER_S)
    assert both.choice.wanted is Kind.MAIN, "an older installation: somebody may watch"
    both.decide(False)
    both.decide(None, FIRST_ANSWER_S)
    assert both.choice.wanted is Kind.SUB


def test_opening_waits_for_the_first_answer(both: Both) -> None:
    opened = []
    thread = threading.Thread(target=lambda: opened.append(both.choice.open()))
    thread.start()
    assert not opened
    both.decide(True)
    thread.join(20)
    assert opened
    assert both.main.opened == 1


def test_the_other_stream_is_read_while_one_fails(both: Both) -> None:
    both.sub.error = SourceFatalError("The camera has no such stream (404).")
    both.decide(False)
    with pytest.raises(SourceError) as refused:
        both.choice.open()
    assert not isinstance(refused.value, SourceFatalError), "the camera itself can work"
    source = both.choice.open()
    source.grab(lambda: None)
    assert not source.retrieve().small
    assert both.choice.note == (
        "The substream can't be used, the main stream is read instead: The camera has no such stream (404)."
    )
    both.main.error = SourceError("The camera has ended its stream.")
    with pytest.raises(SourceError):
        source.grab(lambda: None)
    source.close()
    both.sub.error = None
    assert not both.choice.may_open(Kind.SUB)
    assert both.choice.open().facts().width == 640, "neither may be tried again yet: the one that is wanted"


def test_a_camera_with_one_session_ends_the_one_before_it_opens_the_other(
    both: Both, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StreamChoice, "may_open", lambda _choice, _kind: True)
    both.decide(False)
    source = both.choice.open()
    source.grab(lambda: None)
    both.main.error = SourceError("The camera refuses another session (453).")
    both.decide(True)

    def ends() -> bool:
        try:
            source.grab(lambda: None)
        except SourceError as error:
            return "ends, so that the main stream can be opened" in str(error)
        return False

    wait_for(ends, what="the substream's end")
    source.close()
    both.main.error = None
    assert both.choice.open().facts().width == 1920


def test_other_proportions_bar_the_substream(both: Both) -> None:
    both.sub.size = (640, 480)
    both.decide(False)
    source = both.choice.open()
    source.grab(lambda: None)
    both.decide(True)

    def large() -> bool:
        source.grab(lambda: None)
        return not source.retrieve().small

    wait_for(large, what="the main stream")
    both.decide(False)
    assert both.choice.note is not None
    assert "(640x480) are not those of the main stream (1920x1080)" in both.choice.note
    assert not both.choice.may_open(Kind.SUB)
    source.close()


def test_anamorphic_sizes_of_a_view_count_as_the_same() -> None:
    choice = Both().choice
    choice.check_shape(Kind.MAIN, (1920, 1088))
    choice.check_shape(Kind.SUB, (640, 360))
    choice.check_shape(Kind.MAIN, (1600, 1200))
    choice.check_shape(Kind.SUB, (352, 288))
