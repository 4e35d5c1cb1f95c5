"""When the hub is behind: a burst is not a backlog, and frames are still sent meanwhile."""

from __future__ import annotations

from elastic_inference.flows.relay.hub import BEHIND_AFTER_S, FLUSH_EVERY_S, Backlog


def test_a_burst_after_a_pause_is_not_a_backlog() -> None:
    backlog = Backlog()
    assert not backlog.behind(100.0)
    assert not backlog.behind(200.0)
    backlog.read(200.0, drained=False)
    assert not backlog.behind(200.1)
    backlog.read(200.1, drained=True)
    assert not backlog.behind(300.0)


def test_reads_that_never_empty_the_socket_are_a_backlog() -> None:
    backlog = Backlog()
    backlog.read(1.0, drained=False)
    assert not backlog.behind(1.0 + BEHIND_AFTER_S)
    assert backlog.behind(1.01 + BEHIND_AFTER_S)
    backlog.read(2.0, drained=False)
    assert backlog.behind(2.0)
    assert backlog.read(2.1, drained=True), "what is held goes out as soon as nothing more is waiting"
    assert not backlog.behind(2.1)


def test_while_behind_frames_go_out_now_and_then() -> None:
    backlog = Backlog()
    backlog.read(1.0, drained=False)
    assert backlog.read(1.5, drained=False)
    backlog.flushed(1.5)
    assert not backlog.read(1.5 + FLUSH_EVERY_S / 2, drained=False)
    assert backlog.read(1.51 + FLUSH_EVERY_S, drained=False)
