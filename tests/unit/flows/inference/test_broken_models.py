"""Model files that OpenVINO cannot read: the error says which file is wrong, and what to do."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from tests.support.small_models import constant_model

from elastic_inference.adapters.catalogue.find import find_model
from elastic_inference.base.cpu_quota import CpuAllowance
from elastic_inference.domain.errors import ModelError
from elastic_inference.flows.inference.adapters import AdapterOptions
from elastic_inference.flows.inference.engine import compile_engine
from elastic_inference.flows.inference.model_loader import files_of
from elastic_inference.flows.inference.runtime import load_openvino, make_core

COUNT = 64


def part(number: int, value: bytes | str | int) -> bytes:
    """A field of a protobuf message; all lengths and numbers here take one byte, or two."""
    if isinstance(value, int):
        return bytes([number << 3, value])
    data = value.encode() if isinstance(value, str) else value
    length = len(data)
    size = bytes([length]) if length < 128 else bytes([length & 0x7F | 0x80, length >> 7])
    return bytes([number << 3 | 2]) + size + data


def onnx_with_weights_outside(file: Path) -> None:
    """An ONNX file as torch writes it: it adds numbers to its input, which lie in `<file>.data`."""
    outside = {"location": f"{file.name}.data", "offset": "0", "length": str(4 * COUNT)}
    entries = b"".join(part(13, part(1, key) + part(2, value)) for key, value in outside.items())
    weights = part(1, COUNT) + part(2, 1) + part(8, "w") + entries + part(14, 1)
    tensor = part(1, part(1, 1) + part(2, part(1, part(1, COUNT))))
    node = part(1, "x") + part(1, "w") + part(2, "y") + part(4, "Add")
    graph = part(1, node) + part(2, "g") + part(5, weights)
    graph += part(11, part(1, "x") + part(2, tensor)) + part(12, part(1, "y") + part(2, tensor))
    file.write_bytes(part(1, 8) + part(7, graph) + part(8, part(2, 17)))


def shortened_weights(folder: Path) -> Path:
    """An IR whose weights were not copied to the end."""
    file = folder / "model.xml"
    load_openvino().save_model(constant_model([1, 3, 64, 64], {"boxes": np.ones((200, 4))}), file)
    file.with_suffix(".bin").write_bytes(b"x" * 100)
    return file


def shortened_graph(folder: Path) -> Path:
    """An IR whose graph was not copied to the end."""
    file = shortened_weights(folder)
    file.write_text(file.read_text()[:600])
    return file


def newer_format(folder: Path) -> Path:
    """An IR of a version that this OpenVINO does not know."""
    file = shortened_weights(folder)
    file.write_text(file.read_text().replace('version="11"', 'version="99"', 1))
    return file


def missing_weights_of_onnx(folder: Path) -> Path:
    """An ONNX file without the file that holds its weights."""
    onnx_with_weights_outside(folder / "model.onnx")
    return folder / "model.onnx"


def shortened_onnx(folder: Path) -> Path:
    """An ONNX file that was not copied to the end."""
    file = missing_weights_of_onnx(folder)
    file.write_bytes(file.read_bytes()[:50])
    return file


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (shortened_weights, r"model\.bin is incomplete or belongs to another model: copy both files again"),
        (
            shortened_graph,
            r"It is incomplete, damaged or made for another version than OpenVINO \d+\.\d+\.\d+: copy or",
        ),
        (newer_format, r"its format is unknown\. It is incomplete, damaged or made for another version than OpenVINO"),
        (missing_weights_of_onnx, r"its weights are in model\.onnx\.data, which is missing or incomplete: copy it"),
        (shortened_onnx, r"It is incomplete, damaged or made for another version than OpenVINO"),
    ],
)
def test_the_error_says_which_file_is_wrong_and_what_to_do(
    tmp_path: Path, make: Callable[[Path], Path], words: str
) -> None:
    path = make(tmp_path)
    with pytest.raises(ModelError, match=words) as caught:
        compile_engine(make_core(CpuAllowance(None, 1)), path, None, AdapterOptions(), "CPU")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["model.onnx.data", "model.onnx_data", "model.data", "metadata.yaml", "model.yaml"])
def test_files_beside_an_onnx_model_count_as_its_own(tmp_path: Path, name: str) -> None:
    """For the memory that it needs, and for a change that a pod must see."""
    onnx_with_weights_outside(tmp_path / "model.onnx")
    spec = find_model(None, tmp_path / "model.onnx", "any")
    before = files_of(spec)
    (tmp_path / name).write_bytes(b"#" * 1000)
    assert {each[:2] for each in files_of(spec)} - {each[:2] for each in before} == {(name, 1000)}
