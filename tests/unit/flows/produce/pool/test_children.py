"""Processes of cameras that cannot be started."""

from __future__ import annotations

import errno
import os
import subprocess
import time
from typing import Any

import pytest
from tests.support.waiting import wait_for

from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.pool.child_process import Assignment
from elastic_inference.flows.produce.pool.children import Children


def test_a_process_that_cannot_be_started_is_tried_again(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """For want of descriptors, processes or memory; the worker would have ended, with the cameras of its others."""
    real, tries = subprocess.Popen, []

    def full(*_: Any, **__: Any) -> Any:
        tries.append(time.monotonic())
        raise OSError(errno.EAGAIN, "Resource temporarily unavailable")

    children = Children(1, 5.0)
    try:
        monkeypatch.setattr(subprocess, "Popen", full)
        before = os.listdir("/proc/self/fd")
        children.start_first()
        children.put(
            "gate", Assignment(1, CameraSpec(name="gate", url="rtsp://127.0.0.1:1/"), 1, time.monotonic() + 60)
        )
        wait_for(lambda: children.step(0.05) or len(tries) >= 3, 60, what="three tries")
        assert len(os.listdir("/proc/self/fd")) == len(before)
        assert len([line for line in caplog.messages if "no camera process can be started" in line]) == 1
        monkeypatch.setattr(subprocess, "Popen", real)
        wait_for(lambda: children.step(0.05) or children.ready, 60, what="the process")
        assert children.report("gate") is not None or children.names() == {"gate"}
    finally:
        children.close()
