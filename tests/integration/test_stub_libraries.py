"""container/stages/stub_libraries.py: OpenCV without the FFmpeg of its wheel."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

from tests.conftest import REPOSITORY

SCRIPT = REPOSITORY / "container" / "stages" / "stub_libraries.py"
FFMPEG = ("libavcodec", "libavformat", "libavutil", "libswscale")
WORK = """
import cv2, numpy as np
image = np.random.default_rng(1).integers(0, 255, (64, 96, 3), dtype=np.uint8)
jpeg = cv2.imencode(".jpg", image)[1]
print(cv2.__file__, cv2.imdecode(jpeg, 1).shape, cv2.resize(image, (32, 16)).shape, cv2.imdecode(jpeg[9:], 1))
"""


def test_opencv_decodes_and_resizes_without_ffmpeg(tmp_path: Path) -> None:
    for tool in ("as", "ld", "objdump"):
        if shutil.which(tool) is None:
            (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{tool} is missing: install Debian's binutils")
    package = Path(cv2.__file__).parent
    libraries = package.parent / "opencv_python_headless.libs"
    for folder in (package, libraries):
        shutil.copytree(folder, tmp_path / folder.name)
    kept = tmp_path / libraries.name
    before = {file.name: file.stat().st_size for file in kept.iterdir()}
    (module,) = (tmp_path / "cv2").glob("cv2*.so")

    subprocess.run([sys.executable, SCRIPT, module, kept, *FFMPEG], check=True)

    after = {file.name: file.stat().st_size for file in kept.iterdir()}
    stubs = {name for name, size in after.items() if size != before[name]}
    assert {name.partition("-")[0] for name in stubs} == set(FFMPEG)
    assert all(after[name] < 100_000 for name in stubs)
    assert any(name.startswith("libvpx-") for name in before.keys() - after.keys())
    environ = {**os.environ, "PYTHONPATH": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", WORK], env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.split() == f"{tmp_path}/cv2/__init__.py (64, 96, 3) (16, 32, 3) None".split()
