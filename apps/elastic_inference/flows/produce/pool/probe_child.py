"""Probes one camera in a process of its own: video that crashes the decoder affects no other camera.

Called by `probes`, which writes a JSON object to standard input and reads one from standard output.
"""

from __future__ import annotations

import base64
import json
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from pydantic import TypeAdapter

from elastic_inference.adapters.source.probe import HANG_S, probe_file, probe_settings
from elastic_inference.base import config
from elastic_inference.base.config import CameraSettings
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_documents import MAX_PREVIEW_BYTES, CameraProbe, ProbeRequest
from elastic_inference.domain.camera_errors import sentence
from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.flows.produce.camera_settings import camera_settings

# With less time left, the camera would be blamed for a busy node.
LEAST_S = 2.0
_PROBE: TypeAdapter[CameraProbe] = TypeAdapter(CameraProbe)


def probe(asked: ProbeRequest, settings: CameraSettings, watch_s: float, limit_s: float) -> CameraProbe:
    """Opens the camera and watches it for `watch_s`, within `limit_s`. Raises ElasticInferenceError."""
    images: list[bytes] = []
    keep: Callable[[bytes], None] = images.append
    rules = settings.address_rules
    if asked.url.startswith("file:"):
        # A client must not learn the path inside the worker.
        report = replace(probe_file(rules.file(asked.url), watch_s, limit_s, keep), camera=asked.url)
    else:
        fields = asked.model_dump(include={"url", "transport", "certificate"})
        spec = CameraSpec(name="probe", login=asked.login, **fields)
        report = probe_settings(camera_settings(spec, settings), watch_s, limit_s, rules, keep)
    image = images[0] if images and len(images[0]) <= MAX_PREVIEW_BYTES else None
    return CameraProbe(report, base64.b64encode(image).decode() if image else None)


def limit_of(task: Mapping[str, Any], now: float) -> float:
    """How long the probe may take, so that even one that hangs is answered in time."""
    return min(float(task["limit_s"]), float(task["until_monotonic"]) - now - HANG_S)


def main() -> int:
    """Reads a task, writes its result, or `late` if too little time is left; returns the exit code."""
    task = json.load(sys.stdin)
    limit_s = limit_of(task, time.monotonic())
    if limit_s < LEAST_S:
        json.dump({"late": True}, sys.stdout)
        return 0
    try:
        settings = config.read(CameraSettings, task["settings"])
        found = probe(ProbeRequest.model_validate(task["asked"]), settings, task["watch_s"], limit_s)
        answer: dict[str, Any] = {"found": _PROBE.dump_python(found, mode="json")}
    except ElasticInferenceError as error:
        answer = {"error": sentence(str(error))}
    json.dump(answer, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
