"""A camera is read on while Redis does not answer, though the thread that reads also pushes."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import redis

from elastic_inference.adapters.frame_queue import QueueConsumer
from elastic_inference.base import config
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.rtsp_plain import encode, rtsp_camera
from tests.support.system import ServiceProcess
from tests.support.waiting import wait_for

FPS = 20


def test_frames_are_dropped_and_not_delayed_while_redis_is_frozen(tmp_path: Path) -> None:
    with EmbeddedValkey() as valkey, rtsp_camera(encode(2, FPS, FPS), FPS) as port:
        environ = {
            **{"QUEUE_URL": valkey.url, "STREAM_NAME": "gate", "INFER_TYPE": "people", "CAMERA_FPS": "60"},
            **{"CAMERA": f"rtsp://127.0.0.1:{port}/live", "STREAM_QUEUE_DEPTH": "256"},
        }
        settings = config.load(config.CameraSettings, environ)
        consumer = QueueConsumer(redis.Redis(port=valkey.port), "people", "pod", settings)
        consumer.load_scripts()
        service = ServiceProcess("camera", environ, tmp_path, "camera").start().wait_ready()
        assert valkey.pid is not None
        try:
            wait_for(lambda: service.metric("ei_frames_pushed_total") > 3 * FPS, 60, "frames in the queue")
            consumer.pop(256, 0)
            os.kill(valkey.pid, signal.SIGSTOP)
            dropped = service.metric("ei_frames_dropped_total")
            try:
                # Less than Redis may take to answer: nothing has failed yet.
                time.sleep(2.0)
                assert service.metric("ei_frames_dropped_total") - dropped >= FPS / 2
                assert service.metric("ei_source_up") == 1
            finally:
                os.kill(valkey.pid, signal.SIGCONT)
            wait_for(lambda: len(consumer.pop(1, 0).frames) > 0, 20, "frames again")
            assert service.metric("ei_source_stalls_total") == 0
        finally:
            service.terminate()
            consumer.close()
