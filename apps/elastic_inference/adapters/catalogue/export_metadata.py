"""The metadata that an exporter wrote about its model: task, class names, size.

Ultralytics writes the same keys (and LibreYOLO these and more) into an ONNX file, into `metadata.yaml` beside an
OpenVINO or TensorFlow Lite export, and as a zip archive at the end of a `.tflite` file. OpenVINO returns those of an
ONNX file (`from_mapping`); the other two are read here. Values are texts or YAML's own types, whichever the exporter
chose.
"""

from __future__ import annotations

import ast
import json
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from elastic_inference.domain.errors import ModelError

FILE_NAME = "metadata.yaml"
_MAX_CLASSES = 10_000
# Each detection contains its label.
MAX_LABEL_CHARACTERS = 200
_SIDE = re.compile(r"[0-9]{1,6}")
# Names of 10,000 classes take a tenth of it.
_MAX_TEXT_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ExportMetadata:
    """The metadata of one export; all fields are empty if it has none.

    `task` is Ultralytics' term (`detect`, `segment`, `pose`, `obb`, `classify` …), `names` are by class number, `size`
    is (width, height) in pixels. `keypoints`: how many numbers a pose adds to each row. `described` is the
    exporter's text about the model, `head` its name of the last layer. `normalised`: boxes are 0..1 of the input, as in
    TensorFlow Lite exports, not pixels. `family` is LibreYOLO's term for the kind of model; `centred`: a letterboxed
    image lies in the middle, not at the top left.
    """

    task: str = ""
    names: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    keypoints: int = 0
    described: str = ""
    head: str = ""
    normalised: bool = False
    family: str = ""
    centred: bool = True

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
        task=_text(values.get("task")),
        names=_names(_plain(values.get("names"))),
        size=(int(size[1]), int(size[0])) if _is_pair(size) else None,
        keypoints=int(points[0]) * int(points[1]) if _is_pair(points) else 0,
        head=_text(values.get("head")),
        described=_text(values.get("description")),
        normalised=normalised,
        family=_text(values.get("model_family")),
        centred=not values.get("model_family") or _text(values.get("letterbox_pad")) == "center",
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
    # Most models need no PyYAML, and importing it takes 20 ms of a pod's start.
    from elastic_inference.base.yaml_text import YamlLimits, YamlTextError, read, read_texts  # noqa: PLC0415

    limits = YamlLimits(depth=50, nodes=500_000, aliases=True)
    try:
        with path.open("rb") as file:
            content = file.read(_MAX_TEXT_BYTES + 1)
        if len(content) > _MAX_TEXT_BYTES:
            raise YamlTextError(f"it is larger than {_MAX_TEXT_BYTES >> 20} MB")
        document, texts = read(content, limits).value, read_texts(content, limits)
    except (OSError, YamlTextError) as error:
        reason = " ".join(str(error).split())[:300]
        raise ModelError(f"The {what} {path} can't be read: {reason}.") from None
    if not isinstance(document, dict) or not isinstance(texts, dict):
        return {}
    # A key that came through a merge (<<) is not among the texts.
    kept = {key: texts[key] for key in ("labels", "names") if document.get(key) is not None and key in texts}
    return document | kept


def _in_archive(path: Path) -> Mapping[str, Any] | None:
    """The mapping at the end of a `.tflite` file."""
    import zipfile  # noqa: PLC0415  only for these files

    if not path.is_file() or not zipfile.is_zipfile(path):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            for member in archive.infolist():
                with archive.open(member) as file:
                    text = file.read(_MAX_TEXT_BYTES).decode()
                values = json.loads(text) if member.filename.endswith(".json") else _plain(text)
                if isinstance(values, dict) and is_metadata(values):
                    return values
    # RuntimeError: it is encrypted, packed in an unknown way, or JSON that is nested too deeply.
    except (OSError, EOFError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error):
        return None
    return None


def _text(value: Any) -> str:
    """A text or a number as text. Nothing else: a few bytes of YAML can describe lists whose text fills the memory."""
    return str(value) if isinstance(value, str | int | float) and value else ""


def _plain(value: Any) -> Any:
    """The value of a text such as `{0: 'person'}` or `[640, 640]`; anything else as it is."""
    if not isinstance(value, str):
        return value
    try:
        return ast.literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return None


def _names(value: Any) -> tuple[str, ...]:
    if isinstance(value, list | tuple):
        return tuple(_text(name)[:MAX_LABEL_CHARACTERS] for name in value[: _MAX_CLASSES + 1])
    if not isinstance(value, dict):
        return ()
    try:
        by_number = {int(number): _text(name)[:MAX_LABEL_CHARACTERS] for number, name in value.items()}
    except (TypeError, ValueError, OverflowError):
        return ()
    if not by_number or min(by_number) < 0 or max(by_number) > _MAX_CLASSES:
        return ()
    return tuple(by_number.get(number, "") for number in range(max(by_number) + 1))


def _is_pair(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(_SIDE.fullmatch(_text(one)) for one in value)
