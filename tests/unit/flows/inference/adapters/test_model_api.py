"""The openvino-model-api family on small models made here."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from tests.conftest import missing_tool
from tests.support.small_models import Runner, constant_model

from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import AdapterOptions, guess_family, make_adapter

SQUARE = np.zeros((200, 200, 3), np.uint8)


@pytest.fixture
def package() -> None:
    try:
        import model_api  # noqa: F401
    except ImportError:
        missing_tool("the package openvino-model-api")


def runner(model: Any, **options: Any) -> Runner:
    adapter = make_adapter("model-api", AdapterOptions(**options))
    return Runner(adapter, adapter.prepare(model))


def yolov8_output(*found: tuple[float, float, float, float, int, float]) -> np.ndarray:
    """1 x (4 + 2 classes) x 84 for a 64 x 64 input: centre, size in pixels, class, score."""
    output = np.zeros((1, 6, 84), np.float32)
    for at, (x, y, width, height, number, score) in enumerate(found):
        output[0, :4, at] = (x, y, width, height)
        output[0, 4 + number, at] = score
    return output


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize("rt_info", [{}, {"model_type": "YOLO"}, {"model_type": "YOLO11"}])
def test_yolov8_and_later(rt_info: dict[str, str]) -> None:
    output = yolov8_output((32, 24, 16, 20, 1, 0.9), (33, 24, 16, 20, 1, 0.8), (10, 50, 8, 8, 0, 0.3))
    model = constant_model([1, 3, 64, 64], {"output0": output}, rt_info)
    assert guess_family(model) == "yolo"
    ran = runner(model, labels=("cat", "dog"))
    assert ran.prepared.colour == "RGB"
    wide = np.zeros((100, 200, 3), np.uint8)  # 64 x 32 of the input, from row 16
    found = ran.detect(wide)
    assert [(one.label, one.label_id) for one in found] == [("dog", 1)]
    assert found[0].confidence == pytest.approx(0.9)
    left, right, top, bottom = 24 / 64, 40 / 64, (14 - 16) / 32, (34 - 16) / 32
    assert found[0].box == pytest.approx((left, max(0, top), right, bottom), abs=0.002)
    assert [one.label for one in ran.detect(wide, threshold=0.2)] == ["dog", "cat"]


@pytest.mark.usefixtures("package")
def test_classification_is_a_detection_of_the_whole_frame() -> None:
    scores = np.array([[0.1, 0.7, 0.2]], np.float32)
    model = constant_model([1, 3, 32, 32], {"scores": scores}, {"model_type": "Classification", "labels": "a b c"})
    found = runner(model, configuration={"topk": 2}).detect(SQUARE, threshold=0.15)
    assert [one.label for one in found][:1] == ["b"]
    assert found[0].label_id == 1
    assert {one.box for one in found} == {(0.0, 0.0, 1.0, 1.0)}
    assert found[0].confidence == pytest.approx(0.7, abs=1e-4)
    assert runner(model, configuration={"topk": 2}).detect(SQUARE, threshold=0.75) == []


@pytest.mark.usefixtures("package")
def test_segmentation_gives_the_bounds_of_each_segment() -> None:
    soft = np.zeros((1, 3, 40, 40), np.float32)
    soft[0, 0] = 0.55
    soft[0, 2, 10:20, 4:16] = 0.9
    soft[0, 2, 30:36, 20:40] = 0.8
    soft[0, 1, 0, 0] = 0.99  # too small
    info = {"model_type": "Segmentation", "labels": "road car", "blur_strength": "-1", "soft_threshold": "0.5"}
    found = runner(constant_model([1, 3, 40, 40], {"out": soft}, info)).detect(SQUARE)
    assert [(one.label, one.label_id) for one in found] == [("car", 1), ("car", 1)]
    assert found[0].box == pytest.approx((0.1, 0.25, 0.4, 0.5), abs=0.03)
    assert found[1].box == pytest.approx((0.5, 0.75, 1.0, 0.9), abs=0.03)


@pytest.mark.usefixtures("package")
def test_a_wrapper_that_does_not_exist_or_fit_is_an_error() -> None:
    model = constant_model([1, 3, 32, 32], {"scores": np.zeros((1, 3), np.float32)})
    with pytest.raises(ModelError, match=r"Model API cannot read this model: .*doc/models"):
        runner(model, wrapper="Nonsense")
    with pytest.raises(ModelError, match="Model API cannot read this model"):
        runner(model, wrapper="YOLOv8")


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "model_api"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "model_api", None)
    model = constant_model([1, 3, 64, 64], {"output0": yolov8_output()})
    with pytest.raises(ModelError, match=r"pip install 'elastic-inference\[model-api\]'"):
        runner(model)
