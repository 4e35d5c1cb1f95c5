"""Roboflow's InferencePipeline with the same model through a custom function: CPU milliseconds per frame, and memory.

Runs under an environment of its own, which `camera_peers` installs: it must import nothing of ours.
`roboflow_pipeline.py MODEL SECONDS URL...` prints a line of JSON.
"""

from __future__ import annotations

import json
import os
import sys
import threading
import time
from typing import Any

SETTLE_S = 4.0


def main(model_path: str, seconds: float, urls: list[str]) -> None:
    """Prints {"cpu_ms", "fps", "pss_mb"}."""
    os.environ.setdefault("TELEMETRY_OPT_OUT", "True")
    import cv2
    import numpy as np
    import openvino
    from inference import InferencePipeline

    precision = os.environ.get("INFERENCE_PRECISION", "f32")  # as our side runs
    config = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": precision}
    compiled = openvino.Core().compile_model(model_path, "CPU", config)
    height, width = list(compiled.input(0).shape)[2:]
    request = compiled.create_infer_request()
    done = 0

    def infer(frames: list[Any]) -> list[Any]:
        found = []
        for frame in frames:
            small = cv2.resize(frame.image, (width, height), interpolation=cv2.INTER_LINEAR)
            outputs = request.infer({0: np.ascontiguousarray(small.transpose(2, 0, 1)[None], np.float32)})
            found.append({"boxes": outputs[0].copy()})
        return found

    def take(predictions: Any, frames: Any) -> None:
        nonlocal done
        several = frames if isinstance(frames, list) else [frames]
        done += sum(frame is not None for frame in several)

    pipeline = InferencePipeline.init_with_custom_logic(video_reference=urls, on_video_frame=infer, on_prediction=take)
    threading.Thread(target=pipeline.start, daemon=True).start()
    limit = time.monotonic() + 60
    while not done and time.monotonic() < limit:
        time.sleep(0.1)
    time.sleep(SETTLE_S)
    used, frames, began = time.process_time(), done, time.monotonic()
    time.sleep(seconds)
    used, frames, spent = time.process_time() - used, done - frames, time.monotonic() - began
    with open("/proc/self/smaps_rollup") as text:
        pss = next(int(line.split()[1]) for line in text if line.startswith("Pss:"))
    print(json.dumps({"cpu_ms": 1000 * used / frames, "fps": frames / spent, "pss_mb": pss * 1024 / 1e6}), flush=True)
    os._exit(0)  # its threads end slowly


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]), sys.argv[3:])
