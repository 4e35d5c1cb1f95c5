"""The size at which a frame is needed, and how it travels in the answer to a push."""

from __future__ import annotations

import pytest

from elastic_inference.domain.image_size import UNKNOWN, WATCHED, ModelSize, read_size, reduced, size_of

STRETCH, LETTERBOX = ModelSize(300, 300), ModelSize(416, 416, letterbox=True)


@pytest.mark.parametrize("size", [STRETCH, LETTERBOX, ModelSize(1, 16384), ModelSize(16384, 16384, letterbox=True)])
def test_a_size_survives_the_way_through_redis(size: ModelSize) -> None:
    assert read_size(str(size).encode()) == size
    assert size_of(size.code) == size


@pytest.mark.parametrize(
    "value", [None, b"", b"300x300", b"0x300 stretch", b"20000x300 stretch", b"300x300 other", b"x" * 100, 5]
)
def test_what_no_pod_writes_is_no_size(value: object) -> None:
    assert read_size(value) is None


@pytest.mark.parametrize("code", [UNKNOWN, WATCHED, 5, 1 << 15, 20000 << 15 | 5, 1 << 31, 1 << 40, -5])
def test_a_number_out_of_bounds_is_no_size(code: int) -> None:
    assert size_of(code) is None


@pytest.mark.parametrize(
    ("frame", "models", "expected"),
    [
        ((1920, 1080), [STRETCH], (534, 300, False)),
        ((1080, 1920), [STRETCH], (300, 534, False)),
        ((1280, 720), [STRETCH], (640, 360, False)),
        ((1200, 600), [STRETCH], (600, 300, False)),  # just half
        ((1920, 1080), [ModelSize(544, 320)], (960, 540, False)),
        ((1920, 1080), [LETTERBOX], (480, 270, True)),
        ((1920, 1080), [STRETCH, LETTERBOX], (534, 300, True)),
        ((1920, 1080), [ModelSize(192, 192, letterbox=True)], (480, 270, True)),
        ((1280, 720), [ModelSize(192, 192, letterbox=True)], (320, 180, True)),
        ((1920, 1080), [], (1920, 1080, False)),
        ((320, 240), [STRETCH], (320, 240, False)),
        ((1000, 562), [STRETCH], (1000, 562, False)),  # more than half is needed
        ((640, 272), [LETTERBOX], (640, 272, False)),
    ],
)
def test_a_frame_covers_each_model_and_keeps_its_aspect(
    frame: tuple[int, int], models: list[ModelSize], expected: tuple[int, int, bool]
) -> None:
    assert reduced(*frame, models) == expected
