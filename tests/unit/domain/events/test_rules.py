"""Zones and lines of a camera's specification: what is accepted, and the sentences of what is not."""

from __future__ import annotations

import json
from typing import Any

import pytest

from elastic_inference.adapters.camera_registry.camera_values import MAX_BYTES
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_changes import new_camera, patched
from elastic_inference.domain.camera_errors import CameraRefusal

ZONE = {"name": "hall", "points": [[0.1, 0.1], [0.9, 0.1], [0.9, 0.9]], "dwell_s": 30, "labels": ["person"]}
LINE = {"name": "door", "from": [0.5, 0.2], "to": [0.5, 0.9]}
CAMERA = {"name": "gate", "url": "rtsp://10.0.0.7/live"}


def test_zones_and_lines_come_back_as_they_were_sent() -> None:
    spec = new_camera({**CAMERA, "zones": [ZONE], "lines": [LINE]})
    document = spec.model_dump(mode="json", exclude_unset=True)
    assert document == {**CAMERA, "zones": [ZONE], "lines": [LINE]}
    assert CameraSpec.model_validate(document) == spec
    assert (spec.rules.zones[0].point, spec.rules.lines[0].start) == ("foot", (0.5, 0.2))


def test_a_patch_changes_the_lines_and_keeps_the_zones() -> None:
    spec = patched(new_camera({**CAMERA, "zones": [ZONE], "lines": [LINE]}), {"lines": []})
    assert (len(spec.zones), spec.lines) == (1, ())


def test_all_rules_that_a_camera_may_have_fit_into_one_message() -> None:
    points = [[1 / 3 + n / 1000, 2 / 3 - n * n / 10000] for n in range(32)]
    zones = [{**ZONE, "name": f"z{n}".ljust(64, "x"), "points": points} for n in range(32)]
    lines = [{**LINE, "name": f"l{n}".ljust(64, "x")} for n in range(32)]
    text = new_camera({**CAMERA, "zones": zones, "lines": lines}).model_dump_json()
    assert len(text) < MAX_BYTES


@pytest.mark.parametrize(
    ("fields", "where", "words"),
    [
        ({"zones": [{**ZONE, "points": ZONE["points"][:2]}]}, "zones.0.points", "Expected at least 3 entries."),
        ({"zones": [{**ZONE, "points": [[0, 0], [0.5, 0.5], [1, 1]]}]}, "zones.0.points", "not flat"),
        ({"zones": [{**ZONE, "points": [[0, 0], [2, 0], [1, 1]]}]}, "zones.0.points", "Expected at most 1."),
        ({"zones": [ZONE, ZONE]}, "zones", "Expected each name once."),
        ({"zones": [{**ZONE, "name": "a b"}]}, "zones.0.name", "letter or digit"),
        ({"zones": [{**ZONE, "colour": "red"}]}, "zones.0.colour", "one of name, points, labels"),
        ({"lines": [{**LINE, "to": LINE["from"]}]}, "lines.0", "two points that are not the same"),
        ({"lines": [{"name": "door", "from": [0, 0]}]}, "lines.0.to", "It is required."),
        ({"lines": [{**LINE, "name": f"l{n}"} for n in range(33)]}, "lines", "Expected at most 32 entries."),
    ],
)
def test_what_is_wrong_is_said(fields: dict[str, Any], where: str, words: str) -> None:
    with pytest.raises(CameraRefusal) as refusal:
        new_camera(json.loads(json.dumps({**CAMERA, **fields})))
    assert words in refusal.value.fields[where]
