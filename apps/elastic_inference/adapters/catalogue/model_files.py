"""The files of a model: whether they can be one at all, and which lie beside it. Looks at the disk, opens no model."""

from __future__ import annotations

from pathlib import Path

from elastic_inference.adapters.catalogue.export_metadata import FILE_NAME
from elastic_inference.domain.errors import ModelError

SUFFIXES = (".xml", ".onnx", ".tflite", ".pb")
# What people have instead, and what to do with it.
_INSTEAD = {
    ".pt": "export it from its training package as ONNX or OpenVINO",
    ".pth": "export it from its training package as ONNX or OpenVINO",
    ".safetensors": "export it from its training package as ONNX or OpenVINO",
    ".engine": "TensorRT's engines run on its GPU only: export the model as ONNX or OpenVINO",
    ".zip": "unpack it",
    ".bin": "name the .xml file beside it",
    ".data": "name the .onnx file beside it",
}
_LFS = b"version https://git-lfs"
_PAGES = (b"<!doctype html", b"<html")
_HEAD_BYTES = 64


def check_files(path: Path) -> Path:
    """Returns `path` if the model may be complete. Raises ModelError that says what is missing or wrong."""
    if path.suffix.lower() == ".xml" and not path.with_suffix(".bin").is_file():
        raise ModelError(f"The model {path} has no weights: expected {path.with_suffix('.bin').name} beside it.")
    if not path.is_file():
        return path
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD_BYTES)
    except OSError as error:
        raise ModelError(f"The model file {path} can't be read: {error.strerror}.") from None
    if not head:
        raise ModelError(f"The model file {path} is empty.")
    if head.startswith(_LFS):
        raise ModelError(f"The model file {path} is a pointer of Git LFS, not the model: run `git lfs pull`.")
    if head.lstrip().lower().startswith(_PAGES):
        raise ModelError(f"The model file {path} is a web page, not a model: download it again.")
    return path


def check_suffix(file: Path) -> None:
    """Raises ModelError for a file that cannot be a model."""
    suffix = file.suffix.lower()
    if suffix not in SUFFIXES:
        hint = f"; {_INSTEAD[suffix]}" if suffix in _INSTEAD else ""
        raise ModelError(f"The model file {file} has an unknown suffix: expected {', '.join(SUFFIXES)}{hint}.")


def beside_model(file: Path) -> list[Path]:
    """The files that may belong to a model file, whether or not they exist: weights, side files, metadata."""
    names = {file.with_suffix(".bin").name, file.name + ".yaml", file.with_suffix(".yaml").name, FILE_NAME}
    if file.suffix.lower() == ".onnx":
        # The weights of an ONNX file of more than 2 GB, or of torch's exporter; as torch and as Optimum name them.
        names |= {file.name + ".data", file.name + "_data", file.with_suffix(".data").name}
    return [file.with_name(name) for name in sorted(names)]


def models_in(folder: Path) -> list[str]:
    """The names of a few model files in a folder, for hints."""
    try:
        return sorted(each.stem for each in folder.iterdir() if each.suffix.lower() in SUFFIXES)[:3]
    except OSError:
        return []
