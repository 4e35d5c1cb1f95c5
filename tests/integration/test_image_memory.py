"""The peak memory of a process whose threads decode and draw the costliest images, all at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

MB = 1_000_000
# A progressive image of 33 million pixels without subsampling: libjpeg keeps 198 MB of each.
NEEDED = 200 * MB
_SETUP = r"""
import sys, threading
import cv2, numpy as np, simplejpeg
from tests.support.jpeg import with_size
from tests.support.results import make_result
from elastic_inference.adapters.drawing import draw_result
from elastic_inference.base.byte_budget import ByteBudget
from elastic_inference.base.memory_limit import memory_used
from elastic_inference.domain.errors import InvalidFrameError
from elastic_inference.flows.inference.jpeg import JpegDecoder

options = [cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
small = cv2.imencode(".jpg", np.full((16, 16, 3), 90, np.uint8), options)[1].tobytes()
# What is missing takes as much memory as what is there.
data = with_size(small, 6600, 5000)
draw_result(make_result(), small)
budget = ByteBudget(int(sys.argv[1]))

def decode():
    decoder = JpegDecoder("BGR", budget)
    try:
        decoder.decode(data, 6600, 5000, 300, 300)
    except InvalidFrameError as error:
        sys.stdout.write(f"{error.reason}\n")
    finally:
        decoder.release()

def draw():
    try:
        draw_result(make_result(), data, budget=budget)
        sys.stdout.write("drawn\n")
    except InvalidFrameError as error:
        sys.stdout.write(f"{error.reason}\n")

before = memory_used()
threads = [threading.Thread(target={"decode": decode, "draw": draw}[sys.argv[2]]) for _ in range(2)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
peak = next(int(line.split()[1]) * 1024 for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(peak - before)
"""


@pytest.mark.parametrize(
    ("what", "budget", "outcome", "highest"),
    [
        ("decode", NEEDED + 10 * MB, "truncated", NEEDED + 40 * MB),
        ("draw", NEEDED + 60 * MB, "drawn", NEEDED + 100 * MB),
    ],
)
def test_the_costliest_images_stay_within_the_budget(what: str, budget: int, outcome: str, highest: int) -> None:
    run = subprocess.run(
        [sys.executable, "-c", _SETUP, str(budget), what], capture_output=True, text=True, check=True, timeout=120
    )
    *outcomes, growth = run.stdout.split()
    assert outcomes == [outcome] * 2
    assert int(growth) < highest
