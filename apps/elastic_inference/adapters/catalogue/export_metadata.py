"""The metadata that an exporter wrote about its model: task, class names, size.

Ultralytics writes the same keys into an ONNX file, into `metadata.yaml` beside an OpenVINO or TensorFlow Lite export,
and as a zip archive at the end of a `.tflite` file. OpenVINO hands out those of an ONNX file (`from_mapping`); the
other two are read here. Values are texts or YAML's own types, whichever the exporter chose.
"""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from elastic_inference.domain.errors import ModelError

FILE_NAME = "metadata.yaml"
_MAX_CLASSES = 10_000


@dataclass(frozen=True, slots=True)
class ExportMetadata:
    """The metadata of one export; all fields are empty if it has none.

    `task` is Ultralytics' term (`detect`, `segment`, `pose`, `obb`, `classify` …), `names` are by class number, `size`
    is (width, height) in pixels. `keypoints` is how many numbers a pose adds to each row. `described` is the exporter's
    text about the model, `head` its name of the last layer. `normalised`: boxes are 0..1 of the input, as in TensorFlow
    Lite exports, not pixels.
    """

    task: str = ""
    names: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    keypoints: int = 0
    described: str = ""
    head: str = ""
    normalised: bool = False

    def __bool__(self) -> bool:
        """Whether the exporter described the outputs."""
        return bool(self.task or self.names)


# For a model without metadata.
NO_METADATA = ExportMetadata()


def is_metadata(document: Mapping[str, Any]) -> bool:
    """Whether a YAML document is an exporter's metadata, not a side file of this project."""
    return "names" in document and bool({"task", "stride", "imgsz"} & set(document))


def from_mapping(values: Mapping[str, Any], *, normalised: bool = False) -> ExportMetadata:
    """The metadata of any of the three forms. A value that cannot be read counts as missing."""
    points = _plain(values.get("kpt_shape"))
    size = _plain(values.get("imgsz"))
    return ExportMetadata(
        task=str(values.get("task") or ""),
        names=_names(_plain(values.get("names"))),
        size=(int(size[1]), int(size[0])) if _is_pair(size) else None,
        keypoints=int(points[0]) * int(points[1]) if _is_pair(points) else 0,
        head=str(values.get("head") or ""),
        described=str(values.get("description") or ""),
        normalised=normalised,
    )


def beside(path: Path) -> ExportMetadata:
    """The metadata in or beside a model file. Raises ModelError for a `metadata.yaml` that cannot be read."""
    lite = path.suffix.lower() == ".tflite"
    inside = _in_archive(path) if lite else None
    if inside is not None:
        return from_mapping(inside, normalised=True)
    file = path.with_name(FILE_NAME)
    if not file.is_file():
        return NO_METADATA
    document = read_yaml(file, "metadata beside the model")
    return from_mapping(document, normalised=lite) if is_metadata(document) else NO_METADATA


def read_yaml(path: Path, what: str) -> dict[str, Any]:
    """A YAML mapping; `labels` and `names` hold texts only, so that `on`, `no` and 1 stay as written."""
    try:
        text = path.read_text(encoding="utf-8")
        document, texts = yaml.safe_load(text), yaml.load(text, yaml.BaseLoader)  # noqa: S506  makes texts only
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        raise ModelError(f"The {what} {path} can't be read: {reason}.") from None
    if not isinstance(document, dict):
        return {}
    kept = {key: texts[key] for key in ("labels", "names") if document.get(key) is not None}
    return document | kept


def _in_archive(path: Path) -> Mapping[str, Any] | None:
    """The mapping at the end of a `.tflite` file."""
    if not path.is_file() or not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            for name in archive.namelist():
                text = archive.read(name).decode()
                values = json.loads(text) if name.endswith(".json") else _plain(text)
                if isinstance(values, dict) and is_metadata(values):
                    return values
    except (OSError, ValueError, zipfile.BadZipFile):
        return None
    return None


def _plain(value: Any) -> Any:
    """The value of a text such as `{0: 'person'}` or `[640, 640]`; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(str(name) for name in value)
    if not isinstance(value, dict):
        return ()
    try:
        by_number = {int(number): str(name) for number, name in value.items()}
    except (TypeError, ValueError):
        return ()
    if not by_number or min(by_number) < 0 or max(by_number) > _MAX_CLASSES:
        return ()
    return tuple(by_number.get(number, "") for number in range(max(by_number) + 1))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(str(one).isdigit() for one in value)
