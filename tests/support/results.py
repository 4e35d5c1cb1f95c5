"""Results for tests that need only some of their fields."""

from __future__ import annotations

from typing import Any

from elastic_inference.domain.result import Detection, Result

PERSON = Detection("person", 1, 0.93, (0.25, 0.25, 0.75, 0.75))


def make_result(**fields: Any) -> Result:
    """A result with one person; `fields` replace its defaults."""
    given: dict[str, Any] = {
        "stream": "cam:people:inferred",
        "type": "people",
        "model": "m",
        "precision": "FP32",
        "device": "CPU",
        "order": 1,
        "seq": 1,
        "ts": 1.0,
        "width": 320,
        "height": 240,
        "pod": "pod",
        "age_ms": 0.0,
        "queue_ms": 0.0,
        "infer_ms": 0.0,
        "detections": (PERSON,),
    }
    return Result(**{**given, **fields})
