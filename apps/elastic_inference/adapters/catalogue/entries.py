"""`catalogue.yaml` and side files (`<model>.yaml` beside a model) as validated objects. Does not use the network.

A pod reads the catalogue at each start. Parsing 50 kB of YAML twice and checking all entries took 0.15 s of CPU
time, a tenth of the start. So it reads the shipped catalogue from `catalogue.json`, which `make docs` writes
(`fast_file`), and which a test compares with the YAML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from elastic_inference.adapters.catalogue.export_metadata import (
    MAX_LABEL_CHARACTERS,
    ExportMetadata,
    from_mapping,
    is_metadata,
    read_yaml,
)
from elastic_inference.adapters.catalogue.side_file_errors import no_switch, side_file_words
from elastic_inference.domain.errors import ModelError

CATALOGUE_FILE = Path(__file__).with_name("catalogue.yaml")
FAST_FILE = CATALOGUE_FILE.with_suffix(".json")
PRECISIONS = ("FP32", "FP16", "FP16-INT8")
MAX_LABEL = 10_000
Side = Annotated[int, Field(ge=16, le=8192)]
Label = Annotated[str, Field(max_length=MAX_LABEL_CHARACTERS)]
Number = Annotated[float, Field(allow_inf_nan=False)]
E = TypeVar("E", bound=BaseModel)


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FileEntry(_Entry):
    """One file: its name on disk, its origin (a URL, or a member of a package), its size and checksum."""

    file: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")
    size: int = Field(gt=0)
    sha256: str | None = Field(default=None, pattern=r"^[0-9a-f]{64}$")
    sha384: str | None = Field(default=None, pattern=r"^[0-9a-f]{96}$")
    url: str | None = None
    package: str | None = None
    member: str | None = None

    @model_validator(mode="after")
    def _complete(self) -> FileEntry:
        if (self.sha256 is None) == (self.sha384 is None):
            raise ValueError("expected either sha256 or sha384")
        if (self.url is None) == (self.package is None) or (self.package is None) != (self.member is None):
            raise ValueError("expected either url, or package and member")
        return self

    @property
    def checksum(self) -> tuple[str, str]:
        """(algorithm as hashlib names it, hexadecimal digest)."""
        return ("sha256", self.sha256) if self.sha256 else ("sha384", self.sha384 or "")


class Decoding(_Entry):
    """How to preprocess for a model and decode its outputs. These are the keys of a custom model's side file."""

    adapter: str | None = None
    labels: dict[int, Label] | tuple[Label, ...] | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)
    task: str = "detection"
    licence: str = ""
    colour: str | None = Field(default=None, pattern=r"^(BGR|RGB|bgr|rgb)$")
    mean: tuple[Number, ...] | Number | None = None
    scale: tuple[Number, ...] | Number | None = None
    size: tuple[Side, Side] | Side | None = None
    layout: str | None = None
    overlap: float | None = Field(default=None, gt=0, le=1)
    wrapper: str | None = None
    configuration: dict[str, Any] | None = None

    _no_switch = field_validator("threshold", "overlap", "mean", "scale", "size", mode="before")(no_switch)

    @property
    def width_height(self) -> tuple[int, int] | None:
        """`size` as (width, height) in pixels; one number is both."""
        return (self.size, self.size) if isinstance(self.size, int) else self.size

    @property
    def label_list(self) -> tuple[str, ...]:
        """Labels by class number; '' for a number without one."""
        if self.labels is None:
            return ()
        if isinstance(self.labels, tuple):
            return self.labels
        return tuple(self.labels.get(number, "") for number in range(max(self.labels, default=-1) + 1))

    @model_validator(mode="after")
    def _numbers(self) -> Decoding:
        if isinstance(self.labels, dict) and any(not 0 <= number <= MAX_LABEL for number in self.labels):
            raise ValueError(f"expected class numbers from 0 to {MAX_LABEL}")
        for name in ("mean", "scale"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) not in (1, 3):
                raise ValueError(f"expected one or three numbers in {name}")
            if name == "scale" and value is not None and 0 in (value if isinstance(value, tuple) else (value,)):
                raise ValueError("expected a scale other than 0")
        return self


class ModelEntry(Decoding):
    """A model of the catalogue; `precisions` maps FP32, FP16 or FP16-INT8 to its files, the graph first."""

    origin: str = ""
    precisions: dict[str, tuple[FileEntry, ...]]

    @model_validator(mode="after")
    def _known_precisions(self) -> ModelEntry:
        for precision, files in self.precisions.items():
            if precision not in PRECISIONS or not files:
                raise ValueError(f"{precision}: expected one of {', '.join(PRECISIONS)}, with files")
        return self


class ClipEntry(FileEntry):
    """A sample clip."""

    shows: str = ""
    licence: str = ""


class Catalogue(_Entry):
    """All of `catalogue.yaml`."""

    sources: dict[str, str] = {}
    defaults: dict[str, tuple[str, ...]] = {}
    embedded: tuple[str, ...] = ()
    models: dict[str, ModelEntry] = {}
    clips: dict[str, ClipEntry] = {}

    def url(self, entry: FileEntry) -> str | None:
        """Returns the entry's URL with the source's placeholder filled in."""
        return None if entry.url is None else entry.url.format_map(self.sources)

    def relative_path(self, name: str, precision: str, entry: FileEntry) -> PurePosixPath:
        """Path of a model's file, relative to the models folder and to a mirror."""
        return PurePosixPath(name, precision, entry.file)


def split_name(name: str) -> tuple[str, str | None]:
    """Splits a name such as `yolox-nano_FP32` into (model, precision folder or None); `_INT8` means FP16-INT8."""
    model, _, suffix = name.rpartition("_")
    precision = {"INT8": "FP16-INT8", "FP16INT8": "FP16-INT8"}.get(suffix.upper(), suffix.upper())
    return (model, precision) if model and precision in PRECISIONS else (name, None)


def short_precision(folder: str | None) -> str:
    """The precision as results show it: INT8 for FP16-INT8, '' if unknown."""
    return {"FP16-INT8": "INT8", None: ""}.get(folder, folder or "")


@cache
def load_catalogue(path: Path | None = None) -> Catalogue:
    """Loads a catalogue, by default the shipped one. Raises ModelError if it is missing or invalid."""
    if path is None:
        return _shipped(json.loads(FAST_FILE.read_text(encoding="utf-8")))
    return _checked(read_yaml(path, "model catalogue"), path, Catalogue, "model catalogue")


def _shipped(document: dict[str, Any]) -> Catalogue:
    """The catalogue from a document that was checked when it was written."""
    models = {
        name: ModelEntry.model_construct(
            **{
                **entry,
                "labels": _labels(entry.get("labels")),
                "precisions": {key: tuple(map(_file, files)) for key, files in entry["precisions"].items()},
                **{key: tuple(value) for key, value in entry.items() if key != "labels" and isinstance(value, list)},
            }
        )
        for name, entry in document["models"].items()
    }
    return Catalogue.model_construct(
        **{
            **document,
            "defaults": {kind: tuple(names) for kind, names in document["defaults"].items()},
            "embedded": tuple(document["embedded"]),
            "models": models,
            "clips": {name: ClipEntry.model_construct(**entry) for name, entry in document["clips"].items()},
        }
    )


def _file(entry: dict[str, Any]) -> FileEntry:
    return FileEntry.model_construct(**entry)


def _labels(value: Any) -> dict[int, str] | tuple[str, ...] | None:
    if isinstance(value, dict):
        return {int(number): label for number, label in value.items()}
    return None if value is None else tuple(value)


def load_side_file(path: Path) -> Decoding | ExportMetadata:
    """Loads the side file of a custom model, or an exporter's `metadata.yaml` that was given the side file's name.

    Raises ModelError if it is invalid.
    """
    what = "side file"
    document = read_yaml(path, what)
    if is_metadata(document):
        return from_mapping(document)
    return _checked(document, path, Decoding, what)


def _checked(document: Mapping[str, Any], path: Path, kind: type[E], what: str) -> E:
    if not document:
        raise ModelError(f"The {what} {path} is not a mapping: expected the keys {', '.join(kind.model_fields)}.")
    try:
        return kind.model_validate(document)
    except ValidationError as error:
        words = side_file_words(error, kind, max_label=MAX_LABEL_CHARACTERS)
        end = "" if words.endswith("?") else "."
        raise ModelError(f"The {what} {path} is wrong at {words}{end}") from None
