"""What happens when the processes of a source worker end at once, whatever the reason."""

from __future__ import annotations

import sys
import time

import pytest

from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.pool.child_process import Assignment
from elastic_inference.flows.produce.pool.children import Children


def test_processes_that_end_at_once_are_started_again_after_pauses_that_grow(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    caplog.set_level("INFO")
    children = Children(2, 5.0)
    children.start_first()
    children.put("gate", Assignment(1, CameraSpec(name="gate", url="rtsp://10.0.0.7/"), 1, time.monotonic() + 60))
    began = time.monotonic()
    while time.monotonic() < began + 1.5:
        children.step(0.01)
    # Pauses of at least 0.125, 0.25, 0.5 and 1 s.
    assert 2 <= caplog.text.count("has been started") <= 5
    assert "no camera is suspected" in caplog.text
    assert children.names() == {"gate"}
    children.close()
