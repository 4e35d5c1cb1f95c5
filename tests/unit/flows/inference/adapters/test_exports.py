"""The outputs of well-known exporters, with one known object: layout, preprocessing, labels and box."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from tests.support.small_models import Runner, constant_model

from elastic_inference.adapters.catalogue.export_metadata import ExportMetadata, from_mapping
from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import (
    AdapterOptions,
    Resize,
    adapt,
    check_scores,
    guess_family,
    preprocess,
)

SIDE = 64
BOX = (16.0, 8.0, 32.0, 40.0)
CENTRE = (24.0, 24.0, 16.0, 32.0)
SHARES = tuple(edge / SIDE for edge in BOX)
CELLS = 84  # of strides 8, 16 and 32
SQUARE = np.full((SIDE, SIDE, 3), 127, np.uint8)
NAMES = ("cat", "dog", "person")
Outputs = Mapping[str, np.ndarray]


def rows(count: int, width: int, *found: tuple[float, ...]) -> np.ndarray:
    output = np.zeros((1, count, width), np.float32)
    for at, row in enumerate(found):
        output[0, at, : len(row)] = row
    return output


def columns(width: int, *found: tuple[float, ...]) -> np.ndarray:
    return np.ascontiguousarray(rows(CELLS, width, *found).transpose(0, 2, 1))


def nanodet() -> np.ndarray:
    """Cell 3, 3 of stride 8 is the point 24, 24: its edges lie 1, 2, 1 and 2 strides away."""
    output = np.zeros((1, CELLS + 1, 3 + 32), np.float32)
    output[0, 3 * 8 + 3, 2] = 0.9
    for edge, distance in enumerate((1, 2, 1, 2)):
        output[0, 3 * 8 + 3, 3 + 8 * edge + distance] = 50.0
    return output


def logits(classes: int, background: int | None) -> np.ndarray:
    output = np.full((1, 20, classes), -8.0, np.float32)
    if background is not None:
        output[0, 1:, background] = 8.0
        output[0, 0, background] = 0.0  # and the softmax too
    output[0, 0, 2] = 2.1972246  # the sigmoid of it is 0.9
    return output


OBJECT = (*CENTRE, 0, 0, 0.9)
YOLO5 = (*CENTRE, 0.95, 0, 0, 0.9473684)
LISTS = {"boxes": rows(20, 4, BOX), "scores": rows(1, 20, (0.9,))[0], "labels": rows(1, 20, (2,))[0]}
COUNTED = {"num_dets": np.ones((1, 1)), "det_boxes": rows(20, 4, BOX), "det_scores": rows(1, 20, (0.9,))[0],
           "det_classes": rows(1, 20, (2,))[0]}  # fmt: skip
UNIT = tuple(value / SIDE for value in CENTRE)
POSE = ExportMetadata(task="pose", names=NAMES, keypoints=51)
SEGMENT = ExportMetadata(task="segment", names=NAMES)
DETECT = ExportMetadata(task="detect", names=NAMES)
RT_DETR = ExportMetadata(task="detect", names=NAMES, described="Ultralytics RT-DETR-l model")
MASKS = {"output1": np.zeros((1, 32, 16, 16), np.float32)}
# name, outputs, metadata, family, how the frame is resized
EXPORTS: list[tuple[str, Outputs, ExportMetadata, str, Resize]] = [
    ("v8, v9, 11", {"output0": columns(7, OBJECT)}, DETECT, "yolo", Resize.LETTERBOX),
    ("v8 without metadata", {"output0": columns(7, OBJECT)}, ExportMetadata(), "yolo", Resize.LETTERBOX),
    ("v8 as TensorFlow Lite", {"output0": columns(7, (*UNIT, 0, 0, 0.9))},
     ExportMetadata(task="detect", names=NAMES, normalised=True), "yolo", Resize.LETTERBOX),
    ("v8 segmentation", {"output0": columns(39, OBJECT), **MASKS}, SEGMENT, "yolo", Resize.LETTERBOX),
    ("segmentation without metadata", {"output0": columns(39, OBJECT), **MASKS}, ExportMetadata(), "yolo",
     Resize.LETTERBOX),
    ("v8 pose", {"output0": columns(58, (*OBJECT, 30, 20, 0.5))}, POSE, "yolo", Resize.LETTERBOX),
    ("v5, v7", {"output": rows(3 * CELLS, 8, YOLO5)}, ExportMetadata(), "yolo", Resize.LETTERBOX),
    ("v10, 26, nms=True", {"output0": rows(300, 6, (*BOX, 0.9, 2))}, DETECT, "yolo", Resize.LETTERBOX),
    ("v10 without metadata", {"output0": rows(300, 6, (*BOX, 0.9, 2))}, ExportMetadata(), "yolo", Resize.LETTERBOX),
    ("26 segmentation", {"output0": rows(300, 38, (*BOX, 0.9, 2)), **MASKS}, SEGMENT, "yolo", Resize.LETTERBOX),
    ("26 pose", {"output0": rows(300, 57, (*BOX, 0.9, 2, 30, 20))}, POSE, "yolo", Resize.LETTERBOX),
    ("v7 with suppression", {"output": np.array([[0, *BOX, 2, 0.9]])}, ExportMetadata(), "yolo", Resize.LETTERBOX),
    ("v7 for TensorRT", COUNTED, ExportMetadata(), "box-lists", Resize.LETTERBOX),
    ("RT-DETR of Ultralytics", {"output0": rows(300, 7, (*UNIT, 0, 0, 0.9))}, RT_DETR, "detr", Resize.STRETCH),
    ("RT-DETR of Ultralytics 8.4", {"output0": rows(300, 6, (*UNIT, 0.9, 2))},
     replace(RT_DETR, head="RTDETRDecoder"), "detr", Resize.STRETCH),
    ("DETR", {"logits": logits(4, 3), "pred_boxes": rows(20, 4, UNIT)}, ExportMetadata(names=NAMES), "detr",
     Resize.STRETCH),
    ("RT-DETR of transformers", {"logits": logits(3, None), "pred_boxes": rows(20, 4, UNIT)},
     ExportMetadata(names=NAMES), "detr", Resize.STRETCH),
    ("RF-DETR", {"dets": rows(20, 4, UNIT), "labels": logits(3, None)}, ExportMetadata(), "detr", Resize.STRETCH),
    ("D-FINE, torchvision", LISTS, ExportMetadata(), "box-lists", Resize.STRETCH),
    ("EfficientDet", {"detections": rows(100, 7, (0, BOX[1], BOX[0], BOX[3], BOX[2], 0.9, 2))}, ExportMetadata(),
     "box-lists", Resize.LETTERBOX),
    ("v9 of LibreYOLO", {"output": columns(7, (*BOX, 0, 0, 0.9))}, ExportMetadata(task="detect", names=NAMES,
     family="yolo9", centred=False), "yolo", Resize.LETTERBOX),
    ("NanoDet-Plus", {"output": nanodet()}, ExportMetadata(), "nanodet", Resize.STRETCH),
]  # fmt: skip


@pytest.mark.parametrize("layout", ["NCHW", "NHWC"])
@pytest.mark.parametrize(("outputs", "export", "family", "resize"), [row[1:] for row in EXPORTS],
                         ids=[row[0] for row in EXPORTS])  # fmt: skip
def test_the_object_is_where_the_exporter_says(
    outputs: Outputs, export: ExportMetadata, family: str, resize: Resize, layout: str
) -> None:
    shape = [1, 3, SIDE, SIDE] if layout == "NCHW" else [1, SIDE, SIDE, 3]
    model = constant_model(shape, outputs)
    labels = () if export.names else NAMES
    options = AdapterOptions(labels=labels if family != "yolo" else (), export=export)
    assert guess_family(model, options) == family
    ran = Runner(*adapt(model, None, options))
    check_scores(ran.adapter, ran.outputs(SQUARE))
    found = ran.detect(SQUARE)
    assert [one.label_id for one in found] == [2]
    assert found[0].label == ("person" if export.names or (labels and family != "yolo") else "2")
    assert found[0].confidence == pytest.approx(0.9, abs=0.002)
    assert found[0].box == pytest.approx(SHARES, abs=0.002)
    assert ran.prepared.resize is resize


@pytest.mark.parametrize("dtype", ["f32", "f16", "u8"])
def test_any_type_of_input_gets_the_image_in_its_own_range(dtype: str) -> None:
    """The first row's score is the mean of the input, which is 0..1 for floats and 0..255 for bytes."""
    from openvino import Type
    from openvino import opset13 as ops

    from elastic_inference.flows.inference.runtime import load_openvino

    image = ops.parameter([1, 3, SIDE, SIDE], dtype=getattr(Type, dtype))
    mean = ops.reduce_mean(ops.convert(image, "f32"), np.array([0, 1, 2, 3]), keep_dims=False)
    out = ops.convert(ops.add(ops.constant(np.zeros((1, 300, 6), np.float32)), mean), "f16")
    model = load_openvino().Model([out], [image], "means")
    ran = Runner(*adapt(model, None, AdapterOptions()))
    expected = 127.0 if dtype == "u8" else 127 / 255
    assert ran.outputs(SQUARE)[0][0, 0, 0] == pytest.approx(expected, rel=0.01)
    assert ran.outputs(SQUARE)[0].dtype == np.float32


@pytest.mark.parametrize("shape", [[2, 3, SIDE, SIDE], [2, SIDE, SIDE, 3], [2, 3, -1, -1]])
def test_a_fixed_batch_of_several_images_is_refused_with_what_to_do(shape: list[int]) -> None:
    model = constant_model(shape, {"output0": np.repeat(columns(7, OBJECT), 2, axis=0)})
    with pytest.raises(ModelError, match=r"takes 2 images at once .*: export it with a batch of 1, or with a dynamic"):
        adapt(model, None, AdapterOptions(export=DETECT))


@pytest.mark.parametrize("shape", [[-1, 3, SIDE, SIDE], [-1, 3, -1, -1], [-1, -1, -1, -1]])
@pytest.mark.parametrize("told", ["side file", "metadata"])
def test_a_dynamic_batch_and_size_are_settled(shape: list[int], told: str) -> None:
    model = constant_model(shape, {"output0": columns(7, OBJECT)})
    options = (
        AdapterOptions(size=(SIDE, SIDE))
        if told == "side file"
        else AdapterOptions(export=from_mapping({"names": str(dict(enumerate(NAMES))), "imgsz": f"[{SIDE}, {SIDE}]"}))
    )
    ran = Runner(*adapt(model, None, options))
    assert (ran.prepared.width, ran.prepared.height) == (SIDE, SIDE)
    assert [one.box for one in ran.detect(SQUARE)] == [pytest.approx(SHARES, abs=0.002)]


def test_an_unknown_dynamic_size_is_refused_with_the_key_to_set() -> None:
    model = constant_model([1, 3, -1, -1], {"output0": rows(300, 6, (*BOX, 0.9, 2))})
    with pytest.raises(ModelError, match="`size` in its side file"):
        adapt(model, None, AdapterOptions())


@pytest.mark.parametrize("name", ["orig_target_sizes", "pixel_mask"])
def test_a_second_input_becomes_a_constant(name: str) -> None:
    from openvino import opset13 as ops

    from elastic_inference.flows.inference.runtime import load_openvino

    image = ops.parameter([-1, 3, -1, -1], dtype=np.float32, name="images")
    further = ops.parameter([-1, -1] if name == "orig_target_sizes" else [-1, -1, -1], dtype=np.int64)
    further.output(0).set_names({name})
    seen = ops.reduce_max(ops.convert(further, "f32"), np.array([0]), keep_dims=False)
    results = []
    for key, value in LISTS.items():
        # Boxes are multiplied by the largest number of the second input, which must be the input's side or 1.
        factor = ops.reduce_max(seen, np.arange(further.get_output_partial_shape(0).rank.get_length() - 1))
        unit = SIDE if name == "orig_target_sizes" else 1
        scaled = value / unit if key == "boxes" else value
        node = ops.multiply(ops.constant(scaled.astype(np.float32)), factor) if key == "boxes" else ops.constant(scaled)
        node.output(0).set_names({key})
        results.append(ops.result(node))
    model = load_openvino().Model(results, [image, further], "two")
    ran = Runner(*adapt(model, None, AdapterOptions(size=(SIDE, SIDE), labels=NAMES)))
    assert [one.box for one in ran.detect(SQUARE)] == [pytest.approx(SHARES, abs=0.002)]


@pytest.mark.parametrize("task", ["obb", "classify", "depth"])
def test_another_task_is_refused_by_its_name_though_its_shape_fits(task: str) -> None:
    model = constant_model([1, 3, SIDE, SIDE], {"output0": columns(8, OBJECT)})
    with pytest.raises(ModelError, match=rf"export for the task '{task}', which is not supported: .*doc/models\.md"):
        adapt(model, None, AdapterOptions(export=ExportMetadata(task=task)))


def oriented_boxes() -> Any:
    """The end of Ultralytics' head for oriented boxes: the centre turned by the angle, and the angle as last number."""
    from openvino import opset13 as ops

    from elastic_inference.flows.inference.runtime import load_openvino

    image = ops.parameter([1, 3, SIDE, SIDE], dtype=np.float32, name="images")
    nothing = ops.multiply(ops.reduce_mean(image, np.array([1, 2, 3]), keep_dims=True), np.float32(0))
    found = ops.add(ops.constant(columns(8, (*CENTRE, 0, 0, 0.9, 0.4))), ops.squeeze(nothing, np.array([3])))
    centre, size, scores, angle = ops.variadic_split(found, np.int64(1), np.array([2, 2, 3, 1], np.int64)).outputs()
    turned = ops.add(ops.multiply(centre, ops.cos(angle)), ops.multiply(centre, ops.sin(angle)))
    output = ops.concat([turned, size, scores, angle], 1)
    output.output(0).set_names({"output0"})
    return load_openvino().Model([ops.result(output)], [image], "obb")


@pytest.mark.parametrize("labels", [(), NAMES], ids=["no labels", "labels"])
@pytest.mark.parametrize("family", [None, "yolo"])
def test_oriented_boxes_without_metadata_are_not_taken_for_a_detector(
    labels: tuple[str, ...], family: str | None
) -> None:
    with pytest.raises(ModelError, match="from an angle, as an export for the task 'obb'"):
        adapt(oriented_boxes(), family, AdapterOptions(labels=labels))
    told = ExportMetadata(task="detect", names=(*NAMES, "bus"))
    assert guess_family(oriented_boxes(), AdapterOptions(export=told)) == "yolo"


def test_a_named_adapter_does_not_serve_another_task_either() -> None:
    model = constant_model([1, 3, SIDE, SIDE], {"output0": columns(8, OBJECT)})
    with pytest.raises(ModelError, match="export for the task 'obb', which is not supported"):
        adapt(model, "yolo", AdapterOptions(export=ExportMetadata(task="obb", names=NAMES)))


@pytest.mark.parametrize(
    "outputs", [columns(7, OBJECT), rows(3 * CELLS, 8, YOLO5), rows(300, 6, (*BOX, 0.9, 2))],
    ids=["grid", "objectness", "list"],
)  # fmt: skip
def test_another_family_of_libreyolo_is_not_taken_for_yolo_though_its_shape_fits(outputs: np.ndarray) -> None:
    told = from_mapping({"model_family": "fcos", "task": "detect", "names": str(dict(enumerate(NAMES)))})
    with pytest.raises(ModelError, match="for this model, an export of LibreYOLO's family 'fcos'"):
        adapt(constant_model([1, 3, SIDE, SIDE], {"output": outputs}), None, AdapterOptions(export=told))


@pytest.mark.parametrize(("told", "top"), [({}, 0), ({"letterbox_pad": "center"}, 16)])
def test_libreyolo_puts_the_image_where_its_metadata_says(told: dict[str, str], top: int) -> None:
    known = {"model_family": "yolo9", "task": "detect", "names": str(dict(enumerate(NAMES)))}
    model = constant_model([1, 3, SIDE, SIDE], {"output": columns(7, (0, top, 64, top + 32, 0, 0, 0.9))})
    ran = Runner(*adapt(model, None, AdapterOptions(export=from_mapping(known | told))))
    assert [one.box for one in ran.detect(np.full((32, 64, 3), 127, np.uint8))] == [pytest.approx((0, 0, 1, 1))]


def test_an_effdet_list_is_read_if_the_side_file_names_it() -> None:
    model = constant_model([1, 3, SIDE, SIDE], {"detections": rows(100, 6, (0, 0, 64, 32, 0.9, 2))})
    ran = Runner(*adapt(model, None, AdapterOptions(layout="effdet", labels=("", *NAMES))))
    found = ran.detect(np.full((32, 64, 3), 127, np.uint8))
    assert [(one.label, one.box) for one in found] == [("dog", pytest.approx((0, 0, 1, 1)))]
    assert preprocess(np.zeros((32, 64, 3), np.uint8), ran.prepared)[0, -1, 0].tolist() == [124, 116, 104]


def test_a_cell_of_libreyolo_may_be_of_two_classes() -> None:
    told = ExportMetadata(task="detect", names=NAMES, family="yolo9", centred=False)
    model = constant_model([1, 3, SIDE, SIDE], {"output": columns(7, (*BOX, 0.8, 0, 0.9))})
    found = Runner(*adapt(model, None, AdapterOptions(export=told))).detect(SQUARE)
    assert [(one.label, round(one.confidence, 3)) for one in found] == [("person", 0.9), ("cat", 0.8)]


def nanodet_beyond() -> np.ndarray:
    """Two cells whose boxes are the same within the frame: -48..56 and 0..56, both ways."""
    output = np.zeros((1, CELLS + 1, 3 + 32), np.float32)
    for cell, score, distances in ((8 + 1, 0.8, (7, 7, 6, 6)), (3 * 8 + 3, 0.9, (3, 3, 4, 4))):
        output[0, cell, 0] = score
        for edge, distance in enumerate(distances):
            output[0, cell, 3 + 8 * edge + distance] = 50.0
    return output


@pytest.mark.parametrize(("export", "output"), [
    (ExportMetadata(task="detect", names=NAMES, family="yolo9", centred=False),
     columns(7, (-48, -48, 56, 56, 0.8), (0, 0, 56, 56, 0.9))),
    (ExportMetadata(), nanodet_beyond()),
], ids=["LibreYOLO", "NanoDet"])  # fmt: skip
def test_boxes_are_compared_as_they_are_within_the_frame(export: ExportMetadata, output: np.ndarray) -> None:
    """So do these exporters; the others compare before they cut off what lies beyond the frame."""
    options = AdapterOptions(export=export, labels=() if export.names else NAMES)
    found = Runner(*adapt(constant_model([1, 3, SIDE, SIDE], {"output": output}), None, options)).detect(SQUARE)
    assert [(round(one.confidence, 3), one.box) for one in found] == [(0.9, pytest.approx((0, 0, 0.875, 0.875)))]


@pytest.mark.parametrize("form", ["RT-DETR", "RF-DETR"])
def test_a_query_may_be_of_two_classes(form: str) -> None:
    scores = logits(3, None)
    scores[0, 0, 0] = 1.3862944  # the sigmoid of it is 0.8
    names = ("logits", "pred_boxes") if form == "RT-DETR" else ("labels", "dets")
    model = constant_model([1, 3, SIDE, SIDE], dict(zip(names, (scores, rows(20, 4, UNIT)), strict=True)))
    ran = Runner(*adapt(model, None, AdapterOptions(labels=NAMES)))
    assert [(one.label, round(one.confidence, 3)) for one in ran.detect(SQUARE)] == [("person", 0.9), ("cat", 0.8)]


def test_there_are_at_most_as_many_detections_as_queries() -> None:
    scores = np.linspace(0, 1, 60, dtype=np.float32).reshape(1, 20, 3)
    boxes = np.tile(np.array(UNIT, np.float32), (1, 20, 1))
    model = constant_model([1, 3, SIDE, SIDE], {"logits": scores, "pred_boxes": boxes})
    found = Runner(*adapt(model, None, AdapterOptions(labels=NAMES))).detect(SQUARE, 0.5)
    expected = 1 / (1 + np.exp(-scores.reshape(-1)[:-21:-1]))
    assert [one.confidence for one in found] == pytest.approx(expected, abs=1e-5)


def test_yolox_that_decodes_in_its_graph_is_not_decoded_again() -> None:
    from openvino import opset13 as ops

    from elastic_inference.flows.inference.runtime import load_openvino

    image = ops.parameter([1, 3, SIDE, SIDE], dtype=np.float32)
    one = ops.exp(ops.multiply(ops.reduce_mean(image, np.arange(4)), np.float32(0)))
    out = ops.multiply(ops.constant(rows(CELLS, 8, (*CENTRE, 0.9, 0, 0, 1))), one)
    ran = Runner(*adapt(load_openvino().Model([out], [image], "decoded"), None, AdapterOptions()))
    assert type(ran.adapter).__name__ == "YoloxAdapter"
    assert [found.box for found in ran.detect(SQUARE)] == [pytest.approx(SHARES, abs=0.002)]


def test_metadata_that_does_not_fit_the_output_is_refused() -> None:
    model = constant_model([1, 3, SIDE, SIDE], {"output0": columns(56, OBJECT)})
    with pytest.raises(ModelError, match="names 1 classes for the task 'detect', but its output has room for 52"):
        adapt(model, None, AdapterOptions(export=ExportMetadata(names=("person",))))


def test_scores_outside_0_to_1_are_refused() -> None:
    """A pose without metadata looks like 52 classes, of which most are coordinates."""
    model = constant_model([1, 3, SIDE, SIDE], {"output0": columns(56, (*CENTRE, 0.9, 30, 20, 0.5))})
    ran = Runner(*adapt(model, None, AdapterOptions()))
    with pytest.raises(ModelError, match=r"run from 0 to 30: expected 0 to 1.*doc/models\.md"):
        check_scores(ran.adapter, ran.outputs(SQUARE))


@pytest.mark.parametrize("wrapper", ["YOLOv5", "YOLOv8", "YOLO11"])
def test_a_wrapper_named_after_another_yolo_finds_what_is_there(wrapper: str) -> None:
    model = constant_model([1, 3, SIDE, SIDE], {"output": rows(3 * CELLS, 8, YOLO5)})
    ran = Runner(*adapt(model, None, AdapterOptions(wrapper=wrapper)))
    assert [one.box for one in ran.detect(SQUARE)] == [pytest.approx(SHARES, abs=0.002)]
    pytest.importorskip("model_api")
    with pytest.raises(ModelError, match=f"expected .* for the wrapper {wrapper}"):
        adapt(constant_model([1, 3, SIDE, SIDE], {"output": rows(3 * CELLS, 8, YOLO5)}), "model-api",
              AdapterOptions(wrapper=wrapper))  # fmt: skip


def test_an_openvino_export_of_ultralytics_names_its_classes() -> None:
    info = {"model_type": "YOLO", "labels": "cat dog person"}
    model = constant_model([1, 3, SIDE, SIDE], {"output0": rows(300, 6, (*BOX, 0.9, 2))}, info)
    assert [one.label for one in Runner(*adapt(model, None, AdapterOptions())).detect(SQUARE)] == ["person"]


def test_the_metadata_of_an_onnx_file_is_read() -> None:
    model: Any = constant_model([1, 3, SIDE, SIDE], {"output0": columns(7, OBJECT)})
    for key, text in {"task": "detect", "names": "{0: 'cat', 1: 'dog', 2: 'on'}", "imgsz": "[64, 64]"}.items():
        model.set_rt_info(text, ["framework", key])  # where OpenVINO keeps it
    assert [one.label for one in Runner(*adapt(model, None, AdapterOptions())).detect(SQUARE)] == ["on"]


@pytest.mark.parametrize("labels", [(), NAMES])
def test_relatives_of_detr_with_another_number_of_classes_are_told_to_name_the_layout(labels: tuple[str, ...]) -> None:
    model = constant_model([1, 3, SIDE, SIDE], {"logits": logits(91, None), "pred_boxes": rows(20, 4, UNIT)})
    with pytest.raises(ModelError, match=rf"with 91 classes, which fits neither COCO nor its {len(labels)} labels"):
        adapt(model, None, AdapterOptions(labels=labels))
    # As Conditional and Deformable DETR: a sigmoid, and ImageNet's mean and deviation.
    told = AdapterOptions(layout="detr-sigmoid", mean=(123.7, 116.3, 103.5), scale=(58.4, 57.1, 57.4))
    assert [one.box for one in Runner(*adapt(model, None, told)).detect(SQUARE)] == [pytest.approx(SHARES, abs=0.002)]


def test_a_layout_by_name_that_is_not_known_is_refused() -> None:
    model = constant_model([1, 3, SIDE, SIDE], {"output0": columns(7, OBJECT)})
    with pytest.raises(ModelError, match=r"'gird' is unknown: expected one of .*grid"):
        adapt(model, None, AdapterOptions(layout="gird"))
