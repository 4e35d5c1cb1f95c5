"""The shipped catalogue, and the error messages for an invalid one."""

from __future__ import annotations

from pathlib import Path

import pytest

from elastic_inference.adapters.catalogue.entries import (
    CATALOGUE_FILE,
    FAST_FILE,
    Decoding,
    load_catalogue,
    load_side_file,
    short_precision,
    split_name,
)
from elastic_inference.adapters.catalogue.fast_file import fast_text
from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import FAMILIES

ZOO = "https://storage.openvinotoolkit.org/repositories/open_model_zoo/"


def test_the_fast_file_is_what_make_docs_writes_and_says_the_same() -> None:
    assert FAST_FILE.read_text() == fast_text(), "run `make docs`"
    assert load_catalogue() == load_catalogue(CATALOGUE_FILE)


def test_every_model_can_be_fetched_decoded_and_is_licensed() -> None:
    catalogue = load_catalogue()
    assert len(catalogue.models) >= 25
    for name, model in catalogue.models.items():
        assert model.adapter in FAMILIES, name
        assert any(model.label_list), name
        assert model.licence, name
        assert model.origin, name
        for precision, files in model.precisions.items():
            for entry in files:
                url = catalogue.url(entry)
                assert (url or "https://").startswith("https://"), name
                if url and url.startswith(ZOO):
                    assert url.endswith(f"models_bin/1/{name}/{precision}/{entry.file}")
                    assert entry.sha384, name
            suffixes = [Path(entry.file).suffix for entry in files]
            assert suffixes in ([".xml", ".bin"], [".onnx"], [".tflite"], [".pb"]), name


def test_the_seed_models_are_there_in_their_precisions() -> None:
    models = load_catalogue().models
    for name, precisions in {
        "face-detection-retail-0005": {"FP32", "FP16-INT8"},
        "person-vehicle-bike-detection-crossroad-0078": {"FP16", "FP32", "FP16-INT8"},
        "person-detection-retail-0013": {"FP32", "FP16-INT8"},
        "yolox-nano": {"FP32"},
    }.items():
        assert precisions <= set(models[name].precisions), name
    assert len(models["yolox-nano"].label_list) == 80
    assert models["person-vehicle-bike-detection-crossroad-0078"].label_list == ("", "person", "vehicle", "bike")
    assert models["person-vehicle-bike-detection-2000"].label_list == ("vehicle", "person", "bike")


def test_defaults_and_embedded_models_exist() -> None:
    catalogue = load_catalogue()
    assert {"face-fp32", "face-int8", "people", "car-fp32", "car-int8", "object"} <= set(catalogue.defaults)
    for choices in (*catalogue.defaults.values(), catalogue.embedded):
        for choice in choices:
            model, precision = split_name(choice)
            assert model in catalogue.models
            assert precision is None or precision in catalogue.models[model].precisions
    for name in catalogue.embedded:
        for files in catalogue.models[name].precisions.values():
            assert all(entry.package and "==" in entry.package for entry in files)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("face-detection-retail-0005_FP32", ("face-detection-retail-0005", "FP32")),
        ("face-detection-retail-0005_INT8", ("face-detection-retail-0005", "FP16-INT8")),
        ("face-detection-retail-0005_FP16-INT8", ("face-detection-retail-0005", "FP16-INT8")),
        ("yolox-nano_fp32", ("yolox-nano", "FP32")),
        ("yolox-nano", ("yolox-nano", None)),
        ("my_model", ("my_model", None)),
        ("_FP32", ("_FP32", None)),
    ],
)
def test_names_carry_their_precision(name: str, expected: tuple[str, str | None]) -> None:
    assert split_name(name) == expected


def test_int8_is_shown_short() -> None:
    assert [short_precision(folder) for folder in ("FP16-INT8", "FP32", None)] == ["INT8", "FP32", ""]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("adapter: [", "can't be read"),
        ("- ssd", "is not a mapping: expected the keys adapter, labels"),
        ("adaptor: ssd", r"wrong at adaptor: there is no such key\. Did you mean adapter\?"),
        ("train: images\nnames: [a]", r"wrong at train: there is no such key\. Expected keys: adapter, labels"),
        ("names: [a]", r"wrong at names: there is no such key\. Class names are given as `labels`"),
        ("threshold: 2", "wrong at threshold: expected a number from 0 to 1"),
        ("threshold: on", "wrong at threshold: expected a number: YAML reads on, off, yes and no as true and false"),
        ("labels: person", r"wrong at labels: expected a list of names by class number"),
        ("labels: {person: 0}", r"wrong at labels: expected a list of names by class number"),
        (f"labels: [{'x' * 201}]", "each with at most 200 characters"),
        ("size: 640x384", r"wrong at size: expected a number, or \[width, height\]"),
        ("mean: .inf", "wrong at mean: expected a number from 0 to 255"),
        ("scale: .nan", "wrong at scale: expected a number other than 0"),
        ("scale: [1, 2, yes]", "wrong at scale: expected a number"),
        ("labels: [a]\n#" + "x" * (4 << 20), "can't be read: it is larger than 4 MB"),
        ("labels: {-1: person}", "class numbers from 0 to"),
        ("scale: 0", "a scale other than 0"),
        ("mean: [1, 2]", "one or three numbers in mean"),
    ],
)
def test_an_error_in_a_side_file_says_where_it_is(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "my.onnx.yaml"
    file.write_text(text)
    with pytest.raises(ModelError, match=message) as caught:
        load_side_file(file)
    assert "\n" not in str(caught.value)
    assert str(file) in str(caught.value)


def decoding_of(file: Path) -> Decoding:
    found = load_side_file(file)
    assert isinstance(found, Decoding)
    return found


@pytest.mark.parametrize(
    ("text", "labels"),
    [
        ("labels: [on, no, 3, 1.0, null, person]", ("on", "no", "3", "1.0", "null", "person")),
        ("labels: {0: on, 2: off}", ("on", "", "off")),
        ("labels:\n- yes\n- 007\n", ("yes", "007")),
    ],
)
def test_labels_stay_as_they_were_written(tmp_path: Path, text: str, labels: tuple[str, ...]) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    assert decoding_of(file).label_list == labels


@pytest.mark.parametrize("before", ["", "\ufeff"], ids=["plain", "with a BOM"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_side_file_from_any_editor_is_read(tmp_path: Path, before: str, end: str) -> None:
    file = tmp_path / "my.yaml"
    file.write_bytes((before + end.join(("labels:", "- on", "- no", "threshold: 0.4", ""))).encode())
    found = decoding_of(file)
    assert (found.label_list, found.threshold) == (("on", "no"), 0.4)


@pytest.mark.parametrize(("text", "size"), [("size: 640", (640, 640)), ("size: [640, 384]", (640, 384))])
def test_a_size_is_width_and_height(tmp_path: Path, text: str, size: tuple[int, int]) -> None:
    file = tmp_path / "my.yaml"
    file.write_text(text)
    assert decoding_of(file).width_height == size
