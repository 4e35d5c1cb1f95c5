"""The processes of a source worker: when they start, and when they are replaced."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.pool.child_process import Assignment
from elastic_inference.flows.produce.pool.children import SILENT_LIMIT_S, Children
from tests.support.videos import write_video
from tests.support.waiting import wait_for


@pytest.fixture
def children(valkey: EmbeddedValkey, monkeypatch: pytest.MonkeyPatch) -> Iterator[Children]:
    monkeypatch.setenv("QUEUE_URL", valkey.url)
    monkeypatch.setenv("VIDEO_DIR", "/")
    found = Children(2, 5.0)
    yield found
    found.close()


def test_another_process_is_ready_before_a_camera_needs_it(children: Children, tmp_path: Path) -> None:
    clip = write_video(tmp_path / "clip.mkv", 12, 2).as_uri()
    children.start_first()
    wait_for(lambda: children.step(0.1) or children.ready, 60, "the first process")
    assert len(list(children.cpu_s())) == 1
    for number in range(2):  # nothing is measured yet: each counts as 0.15
        name = f"camera-{number}"
        children.put(name, Assignment(1, CameraSpec(name=name, url=clip), 1, 0.0))
    assert len(list(children.cpu_s())) == 1, "both fit into it"
    children.step(0.0)
    assert len(list(children.cpu_s())) == 2
    for _ in range(3):
        children.step(0.0)
    assert len(list(children.cpu_s())) == 2


def test_a_process_that_starts_slowly_is_not_replaced(children: Children) -> None:
    children.start_first()
    (child,) = children._shared
    child.silent_s = SILENT_LIMIT_S + 1
    children.step(0.0)
    assert children._shared == [child]
    wait_for(lambda: children.step(0.1) or children.ready, 60, "its start")

    def replaced() -> bool:
        child.silent_s = SILENT_LIMIT_S + 1  # its next message sets this back
        children.step(0.0)
        return child not in children._shared

    wait_for(replaced, 20, "its replacement: one that has begun and says nothing hangs")


def test_a_process_that_reads_late_is_not_replaced(children: Children) -> None:
    """As on a busy machine: its socket is full of cameras and leases before it gets to read them."""
    children.start_first()
    wait_for(lambda: children.step(0.1) or children.ready, 60, "the first process")
    (child,) = children._shared
    names = [f"camera-{number}" for number in range(300)]
    os.kill(child.pid, signal.SIGSTOP)
    try:
        labels = {"long": "x" * 200}
        for name in names:
            spec = CameraSpec(name=name, url=f"rtsp://127.0.0.1:9/{name}?{'x' * 800}", labels=labels)
            child.put(name, Assignment(1, spec, 1, 0.0))
        for number in range(100):
            child.extend(dict.fromkeys(names, float(number)))
        children.step(0.0)
        assert not child.hangs
        assert child.channel.behind
    finally:
        os.kill(child.pid, signal.SIGCONT)
    wait_for(lambda: children.step(0.1) or child.reports.keys() >= set(names), 60, "word of all cameras")
    assert not child.channel.behind
    assert children._shared[0] is child
