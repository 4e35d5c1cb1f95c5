"""What a thread keeps after it has drawn a very large image."""

from __future__ import annotations

import subprocess
import sys

from elastic_inference.flows.relay import websocket_service

_DRAW = r"""
import sys
from concurrent.futures import ThreadPoolExecutor
import cv2, numpy as np
from tests.support.results import make_result
from elastic_inference.adapters.drawing import draw_result
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.base.memory_limit import memory_used

assert keep_freed_memory(int(sys.argv[1]))
small, large = (cv2.imencode(".jpg", np.full((side, side, 3), 90, np.uint8))[1].tobytes() for side in (16, 5000))
with ThreadPoolExecutor(1) as threads:
    draw = lambda jpeg: draw_result(make_result(), jpeg)
    threads.submit(draw, small).result()
    before = memory_used()
    for _ in range(3):
        threads.submit(draw, large).result()
    print(memory_used() - before)
"""


def test_a_drawing_thread_returns_the_memory_of_large_images() -> None:
    run = subprocess.run(
        [sys.executable, "-c", _DRAW, str(websocket_service._KEPT_BYTES)], capture_output=True, text=True, check=True
    )
    # The image alone has 19 MB of pixels.
    assert int(run.stdout) < 12_000_000
