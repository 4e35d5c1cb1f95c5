"""What the camera pool is compared with: a former build, decoding alone, and Roboflow's `inference`.

Used by `cameras`. What must be installed goes into `build/`, once.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import av

from elastic_inference.adapters.catalogue import find_model
from tests.support.system import REPOSITORY

# The last build before sources read through PyAV and cameras were leased.
BEFORE = "5962eb7"
# The CPU flavour of https://github.com/roboflow/inference.
ROBOFLOW = "inference-cpu==1.8.3"
INSTALL_LIMIT_S = 900
SETTLE_S = 2.0


class Unavailable(Exception):
    """It can't be measured here, and why."""


def build_before() -> Path:
    """A checkout of the build before, with its environment. Raises Unavailable."""
    folder = REPOSITORY / "build" / f"before-{BEFORE}"
    if not (folder / ".venv" / ".installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        packed = folder.with_suffix(".tar")
        _run(["git", "archive", "-o", str(packed), BEFORE], f"the build {BEFORE} is not in this repository")
        _run(["tar", "-xf", str(packed), "-C", str(folder)], f"the build {BEFORE} can't be unpacked")
        packed.unlink()
        words = f"the packages of the build {BEFORE} can't be installed"
        _run(["make", "-s", "-C", str(folder), "install", f"PYTHON={_base_python()}"], words)
    return folder


def roboflow_python() -> Path:
    """The Python of an environment with Roboflow's `inference`. Raises Unavailable."""
    folder = REPOSITORY / "build" / f"roboflow-{ROBOFLOW.rpartition('=')[2]}"
    python, installed = folder / "bin" / "python", folder / ".installed"
    if not installed.exists():
        openvino = f"openvino=={version('openvino')}"
        words = f"Roboflow's {ROBOFLOW} can't be installed"
        _run([_base_python(), "-m", "venv", str(folder)], words)
        _run([str(python), "-m", "pip", "install", "-q", ROBOFLOW, openvino], words)
        installed.touch()
    return python


def roboflow(models: Path, model: str, urls: list[str], seconds: float) -> dict[str, float]:
    """{"cpu_ms", "fps", "pss_mb"} of Roboflow's pipeline on these cameras. Raises Unavailable."""
    script = REPOSITORY / "tests" / "bench" / "roboflow_pipeline.py"
    path = find_model(model, models, "bench").path
    command = [str(roboflow_python()), str(script), str(path), str(seconds), *urls]
    found: dict[str, float] = json.loads(_run(command, "Roboflow's pipeline failed").splitlines()[-1])
    return found


def decode_alone_ms(url: str, seconds: float) -> float:
    """CPU milliseconds per frame of a process that only reads an RTSP camera and decodes."""
    command = [sys.executable, "-m", "tests.bench.camera_peers", "--decode", url, "--seconds", str(seconds)]
    return float(_run(command, "decoding alone failed"))


def _decode(url: str, seconds: float) -> float:
    with av.open(url, options={"rtsp_transport": "tcp"}) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        settled, began, frames = time.monotonic() + SETTLE_S, 0.0, 0
        for _ in container.decode(stream):
            if time.monotonic() < settled:
                began = time.process_time()
                continue
            frames += 1
            if time.monotonic() > settled + seconds:
                break
        return 1000 * (time.process_time() - began) / frames


def _base_python() -> str:
    """The Python that environments are made from."""
    return str(Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}")


def _run(command: list[str], words: str) -> str:
    options: dict[str, Any] = {"capture_output": True, "text": True, "stdin": subprocess.DEVNULL, "cwd": REPOSITORY}
    try:
        return subprocess.run(command, check=True, timeout=INSTALL_LIMIT_S, **options).stdout
    except subprocess.CalledProcessError as error:
        last = (error.stderr.strip() or error.stdout.strip() or "no output").splitlines()[-1]
        raise Unavailable(f"{words}: {last[:200]}") from None
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Unavailable(f"{words}: {error}") from None


def main() -> None:
    """Prints one number."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--decode", required=True, help="URL of an RTSP camera")
    parser.add_argument("--seconds", type=float, default=5.0)
    options = parser.parse_args()
    print(_decode(options.decode, options.seconds))


if __name__ == "__main__":
    main()
