"""Default names of streams."""

from __future__ import annotations

import pytest

from elastic_inference.domain import keys
from elastic_inference.flows.produce.stream_name import default_name


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("gate-1", "gate-1-camera"),
        ("ei-sample-people-deployment-7c9d-x2x", "ei-sample-people-deployment-7c9d-x2x-camera"),
        ("küche.local", "k_che.local-camera"),
        ("", "host-camera"),
    ],
)
def test_the_default_name_is_the_host_and_the_kind(host: str, expected: str) -> None:
    assert default_name("camera", host) == expected


def test_a_long_host_name_still_makes_a_name() -> None:
    name = default_name("camera", "h" * 500)
    assert keys.is_name(name)
    assert name.endswith("-camera")


def test_this_host_has_one() -> None:
    assert keys.is_name(default_name("file"))
