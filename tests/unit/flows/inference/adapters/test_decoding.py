"""Each family on small models made here, compared with simple loops over the same outputs."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from tests.support.small_models import Runner, constant_model, overlap

from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import AdapterOptions, Letterbox, guess_family, make_adapter
from elastic_inference.flows.inference.adapters.blazeface import anchor_centres

GREY = np.full((90, 160, 3), 127, np.uint8)


def runner(family: str, model: Any, labels: tuple[str, ...] = ()) -> Runner:
    assert guess_family(model) == family
    adapter = make_adapter(family, AdapterOptions(labels=labels))
    return Runner(adapter, adapter.prepare(model))


def ssd_rows(*rows: tuple[float, ...]) -> np.ndarray:
    return np.array(rows, np.float32).reshape(1, 1, -1, 7)


def test_ssd_rows_end_at_a_negative_image_number() -> None:
    rows = ssd_rows(
        (0, 1, 0.9, 0.1, 0.1, 0.3, 0.4),
        (0, 2, 0.49, 0.1, 0.1, 0.3, 0.4),
        (0, 3, 0.5, -0.1, 0.5, 0.3, 1.4),
        (0, 1, math.nan, 0.1, 0.1, 0.3, 0.4),
        (0, 1, 0.8, math.nan, 0.1, 0.3, 0.4),
        (0, math.nan, 0.7, 0.5, 0.5, 0.6, 0.6),
        (-1, 1, 0.99, 0.1, 0.1, 0.3, 0.4),
        (0, 1, 0.99, 0.1, 0.1, 0.3, 0.4),
    )
    found = runner("ssd", constant_model([1, 3, 32, 64], {"out": rows}), ("", "person", "car", "bike")).detect(GREY)
    assert [(one.label, one.label_id) for one in found] == [("person", 1), ("-1", -1), ("bike", 3)]
    assert found[0].confidence == pytest.approx(0.9)
    assert found[0].box == pytest.approx((0.1, 0.1, 0.3, 0.4))
    assert found[2].box == pytest.approx((0.0, 0.5, 0.3, 1.0))


@pytest.mark.parametrize("length", [1, 7, 8, 9, 23, 24, 25, 60])
def test_ssd_lists_of_any_length_are_read_alike(length: int) -> None:
    faint, last, beyond = (0, 1, 0.1, 0.1, 0.1, 0.3, 0.4), (0, 1, 0.75, 0.5, 0.25, 0.75, 0.5), (0, 1, 0.9, 0, 0, 1, 1)
    full = ssd_rows(*[faint] * (length - 1), last)
    ended = ssd_rows(*[faint] * (length - 1), last, (-1, 0, 0, 0, 0, 0, 0), *[beyond] * 3)
    for rows in (full, ended):
        (found,) = runner("ssd", constant_model([1, 3, 32, 64], {"out": rows})).detect(GREY)
        assert (found.label_id, found.confidence, found.box) == (1, 0.75, (0.5, 0.25, 0.75, 0.5))
    none = ssd_rows(*[faint] * length, (-1, 0, 0, 0, 0, 0, 0), *[beyond] * 40)
    assert runner("ssd", constant_model([1, 3, 32, 64], {"out": none})).detect(GREY) == []


def test_ssd_pairs_are_pixels_of_the_input() -> None:
    boxes = np.array([[16, 8, 32, 16, 0.8], [0, 0, 64, 32, 0.2]], np.float32)
    model = constant_model([1, 3, 32, 64], {"boxes": boxes, "labels": np.array([1, 0], np.float32)})
    found = runner("ssd", model, ("vehicle", "person")).detect(GREY)
    assert [(one.label, one.box) for one in found] == [("person", pytest.approx((0.25, 0.25, 0.5, 0.5)))]


def test_preprocessing_in_the_graph_gives_the_mean_and_scale_of_the_options() -> None:
    from elastic_inference.flows.inference.runtime import load_openvino

    openvino = load_openvino()
    from openvino import opset13 as ops

    image = ops.parameter([1, 3, 4, 4], dtype=np.float32)
    means = ops.reduce_mean(image, np.array([2, 3]), keep_dims=True)
    row = ops.concat([means, means, means], 1)
    rows = ops.reshape(row, np.array([1, 1, 9, 1]), special_zero=False)
    model = openvino.Model([ops.concat([rows] * 7, 3)], [image], "means")
    options = AdapterOptions(colour="RGB", mean=(1.0, 2.0, 3.0), scale=(10.0,))
    adapter = make_adapter("ssd", options)
    found = Runner(adapter, adapter.prepare(model))
    frame = np.zeros((4, 4, 3), np.uint8)
    frame[:] = (30, 20, 10)  # BGR, so RGB is 10, 20, 30
    assert found.prepared.colour == "RGB"
    assert found.outputs(frame)[0][0, 0, :3, 0] == pytest.approx([0.9, 1.8, 2.7])


@pytest.mark.parametrize(
    "names",
    [
        ("detection_boxes:0", "detection_classes:0", "detection_scores:0", "num_detections:0"),
        (
            "TFLite_Detection_PostProcess",
            "TFLite_Detection_PostProcess:1",
            "TFLite_Detection_PostProcess:2",
            "TFLite_Detection_PostProcess:3",
        ),
        (
            "StatefulPartitionedCall:1",
            "StatefulPartitionedCall:3",
            "StatefulPartitionedCall:0",
            "StatefulPartitionedCall:2",
        ),
    ],
)
@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_tf_detection_finds_the_outputs_by_name(names: tuple[str, ...], order: tuple[int, ...]) -> None:
    # y_min, x_min, y_max, x_max; the third lies beyond num_detections.
    boxes = np.array([[[0.1, 0.2, 0.3, 0.4], [0.5, 0.5, 0.6, 0.6], [0.7, 0.7, 0.8, 0.8]]], np.float32)
    values = (boxes, np.array([[1, 1, 1]]), np.array([[0.9, 0.3, 0.8]]), np.array([2]))
    outputs = {names[at]: np.asarray(values[at], np.float32) for at in order}
    found = runner("tf-detection", constant_model([1, 24, 24, 3], outputs), ("", "person")).detect(GREY)
    assert [(one.label, one.box) for one in found] == [("person", pytest.approx((0.2, 0.1, 0.4, 0.3)))]


def test_tf_detection_makes_a_dynamic_input_300_pixels() -> None:
    outputs = {
        "detection_boxes": np.zeros((1, 1, 4), np.float32),
        "detection_classes": np.zeros((1, 1), np.float32),
        "detection_scores": np.zeros((1, 1), np.float32),
        "num_detections": np.zeros(1, np.float32),
    }
    ran = runner("tf-detection", constant_model([-1, -1, -1, 3], outputs))
    assert (ran.prepared.width, ran.prepared.height) == (300, 300)
    assert ran.detect(GREY) == []


def plain_anchors(side: int, count: int) -> list[tuple[float, float]]:
    layers = [(4, 1)] if count == 2304 else [(side // 16, 2), (side // 8, 6)]
    centres = []
    for stride, repeats in layers:
        cells = side // stride
        for row in range(cells):
            for column in range(cells):
                centres += [((column + 0.5) / cells, (row + 0.5) / cells)] * repeats
    return centres


@pytest.mark.parametrize(("side", "count"), [(128, 896), (256, 896), (192, 2304)])
def test_blazeface_anchors_are_the_cells_centres(side: int, count: int) -> None:
    assert anchor_centres(side, count) == pytest.approx(np.array(plain_anchors(side, count)), abs=1e-6)


def test_blazeface_boxes_are_relative_to_their_anchors() -> None:
    side, count = 128, 896
    regressors = np.zeros((1, count, 16), np.float32)
    scores = np.full((1, count, 1), -10.0, np.float32)
    regressors[0, 300, :4] = (2.0, -3.0, 20.0, 24.0)
    scores[0, 300, 0] = 2.0
    regressors[0, 301, :4] = (math.nan, 0.0, 20.0, 20.0)
    scores[0, 301, 0] = 5.0
    regressors[0, 302, :4] = (0.0, 0.0, -20.0, 20.0)
    scores[0, 302, 0] = 5.0
    model = constant_model([1, side, side, 3], {"regressors": regressors, "classificators": scores})
    found = runner("blazeface", model).detect(np.zeros((128, 128, 3), np.uint8))
    x, y = plain_anchors(side, count)[300]
    x, y = x + 2 / side, y - 3 / side
    assert [one.label for one in found] == ["face"]
    assert found[0].confidence == pytest.approx(1 / (1 + math.exp(-2.0)), abs=1e-5)
    assert found[0].box == pytest.approx((x - 10 / side, y - 12 / side, x + 10 / side, y + 12 / side), abs=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_a_few_blazeface_anchors_are_read_as_many_are(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(seed)
    side, count = 128, 896
    regressors = random.normal(0, 8, (1, count, 16)).astype(np.float32)
    regressors[..., 2:4] = random.uniform(-4, 60, (1, count, 2))
    scores = np.full((1, count, 1), -10.0, np.float32)
    sure = random.choice(count, 20, replace=False)
    scores[0, sure, 0] = random.uniform(-1, 6, 20)
    regressors[0, sure[0], :4], scores[0, sure[0], 0] = (1.0, math.inf, 20.0, 20.0), 3.0
    regressors[0, sure[1], :4], scores[0, sure[1], 0] = (1.0, 1.0, -20.0, 20.0), 3.0
    scores[0, sure[2], 0] = math.inf
    scores[0, sure[3], 0] = math.nan
    model = constant_model([1, side, side, 3], {"regressors": regressors, "classificators": scores})
    frame = np.zeros((90, 160, 3), np.uint8)
    few = runner("blazeface", model).detect(frame)
    monkeypatch.setattr("elastic_inference.flows.inference.adapters.blazeface.FEW_BOXES", 0)
    many = runner("blazeface", model).detect(frame)
    assert len(few) == len(many) > 3
    for one, other in zip(few, many, strict=True):
        assert (one.label, one.confidence) == (other.label, pytest.approx(other.confidence, abs=1e-6))
        assert one.box == pytest.approx(other.box, abs=1e-6)


def test_yolox_compared_with_simple_loops() -> None:
    random = np.random.default_rng(3)
    width, height = 96, 64
    rows = []
    for stride in (8, 16, 32):
        rows += [(column, row, stride) for row in range(height // stride) for column in range(width // stride)]
    raw = random.normal(0, 0.5, (1, len(rows), 8)).astype(np.float32)
    raw[0, :, 4:] = random.random((len(rows), 4))
    raw[0, 5, 2] = 500.0  # exp() would overflow
    raw[0, 6, 0] = math.nan
    raw[0, 7, 4] = math.nan
    frame = np.zeros((300, 300, 3), np.uint8)  # covers the left 64 of 96 columns
    threshold = 0.5
    candidates = []
    for (column, row, stride), numbers in zip(rows, raw[0].astype(float).tolist(), strict=True):
        number = max(range(3), key=lambda at: numbers[5 + at])
        score = numbers[4] * numbers[5 + number]
        if not score >= threshold or math.isnan(numbers[0]):
            continue
        x, y = (numbers[0] + column) * stride, (numbers[1] + row) * stride
        wide, high = math.exp(min(numbers[2], 10)) * stride, math.exp(min(numbers[3], 10)) * stride
        candidates.append((score, number, (x - wide / 2, y - high / 2, x + wide / 2, y + high / 2)))
    kept: list[tuple[float, int, tuple[float, ...]]] = []
    for candidate in sorted(candidates, reverse=True):
        if all(candidate[1] != other[1] or overlap(candidate[2], other[2]) <= 0.45 for other in kept):
            kept.append(candidate)
    expected = []
    for score, number, box in kept:
        cut = [min(max(edge / 64, 0), 1) for edge in box]  # 64 input pixels are the whole frame, both ways
        if cut[2] > cut[0] and cut[3] > cut[1]:
            expected.append((number, pytest.approx(score, abs=1e-5), pytest.approx(cut, abs=1e-4)))
    found = runner("yolox", constant_model([1, 3, height, width], {"output": raw}), ("a", "b", "c")).detect(
        frame, threshold
    )
    assert len(expected) > 3
    assert [(one.label_id, one.confidence, list(one.box)) for one in found] == expected


def test_yolox_finds_nothing_in_outputs_that_are_not_finite() -> None:
    raw = np.full((1, 84, 7), np.nan, np.float32)
    adapter = make_adapter("yolox")
    adapter.prepare(constant_model([1, 3, 64, 64], {"output": raw}))
    assert adapter.decode([raw], Letterbox(), 0.5) == []
    assert adapter.decode([np.full_like(raw, np.inf)], Letterbox(), 0.5) == []


@pytest.mark.parametrize("family", ["ssd", "tf-detection", "blazeface", "yolox"])
def test_a_model_of_another_form_is_refused_with_what_was_found_and_expected(family: str) -> None:
    model = constant_model([1, 3, 32, 32], {"logits": np.zeros((1, 10), np.float32)})
    with pytest.raises(ModelError, match=rf"'{family}': it has .*image \[1x3x32x32\].*\[1x10\].*; expected .*N"):
        make_adapter(family).prepare(model)
    with pytest.raises(ModelError, match=r"No adapter is known.*1x10.*doc/models\.md"):
        guess_family(model)


def test_an_input_that_is_not_an_image_is_refused() -> None:
    model = constant_model([1, 5, 32, 32], {"out": ssd_rows((0, 1, 0.9, 0, 0, 1, 1))})
    with pytest.raises(ModelError, match="3 channels"):
        make_adapter("ssd").prepare(model)
    model = constant_model([1, 3, -1, -1], {"out": ssd_rows((0, 1, 0.9, 0, 0, 1, 1))})
    with pytest.raises(ModelError, match="fixed width and height"):
        make_adapter("ssd").prepare(model)


def test_an_adapter_that_is_not_known_is_refused() -> None:
    with pytest.raises(ModelError, match=r"'yola' is unknown: expected one of ssd, "):
        make_adapter("yola")
