"""`catalogue.yaml` and side files (`<model>.yaml` beside a model) as validated objects. Does not use the network.

A pod reads the catalogue at each start. Parsing 50 kB of YAML twice and checking all entries took 0.15 s of CPU
time, a tenth of the start. So it reads the shipped catalogue from `catalogue.json`, which `make docs` writes
(`fast_file`), and which a test compares with the YAML.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from elastic_inference.adapters.catalogue.export_metadata import (
    MAX_LABEL_CHARACTERS,
    ExportMetadata,
    from_mapping,
    is_metadata,
    read_yaml,
)
from elastic_inference.domain.errors import ModelError
from elastic_inference.domain.late import CLOSED, late, with_config

if TYPE_CHECKING:
    import pydantic

    from elastic_inference.adapters.catalogue import entry_fields, side_file_errors
else:
    pydantic = late("pydantic")
    entry_fields = late("elastic_inference.adapters.catalogue.entry_fields")
    side_file_errors = late("elastic_inference.adapters.catalogue.side_file_errors")

CATALOGUE_FILE = Path(__file__).with_name("catalogue.yaml")
FAST_FILE = CATALOGUE_FILE.with_suffix(".json")
PRECISIONS = ("FP32", "FP16", "FP16-INT8")
MAX_LABEL = 10_000
E = TypeVar("E")


@with_config(CLOSED)
@dataclass(frozen=True, kw_only=True)
class FileEntry:
    """One file: its name on disk, its origin (a URL, or a member of a package), its size and checksum."""

    file: Annotated[str, pydantic.Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
    size: Annotated[int, pydantic.Field(gt=0)]
    sha256: Annotated[str | None, pydantic.Field(pattern=r"^[0-9a-f]{64}$")] = None
    sha384: Annotated[str | None, pydantic.Field(pattern=r"^[0-9a-f]{96}$")] = None
    url: str | None = None
    package: str | None = None
    member: str | None = None

    def __post_init__(self) -> None:
        if (self.sha256 is None) == (self.sha384 is None):
            raise ValueError("expected either sha256 or sha384")
        if (self.url is None) == (self.package is None) or (self.package is None) != (self.member is None):
            raise ValueError("expected either url, or package and member")

    @property
    def checksum(self) -> tuple[str, str]:
        """(algorithm as hashlib names it, hexadecimal digest)."""
        return ("sha256", self.sha256) if self.sha256 else ("sha384", self.sha384 or "")


@with_config(CLOSED)
@dataclass(frozen=True, kw_only=True)
class Decoding:
    """How to preprocess for a model and decode its outputs. These are the keys of a custom model's side file."""

    adapter: str | None = None
    labels: dict[int, entry_fields.Label] | tuple[entry_fields.Label, ...] | None = None
    threshold: entry_fields.Threshold | None = None
    task: str = "detection"
    licence: str = ""
    colour: Annotated[str | None, pydantic.Field(pattern=r"^(BGR|RGB|bgr|rgb)$")] = None
    mean: entry_fields.Numbers | None = None
    scale: entry_fields.Numbers | None = None
    size: entry_fields.Size | None = None
    layout: str | None = None
    overlap: entry_fields.Overlap | None = None
    wrapper: str | None = None
    configuration: dict[str, Any] | None = None

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

    def __post_init__(self) -> None:
        if isinstance(self.labels, dict) and any(not 0 <= number <= MAX_LABEL for number in self.labels):
            raise ValueError(f"expected class numbers from 0 to {MAX_LABEL}")
        for name in ("mean", "scale"):
            value = getattr(self, name)
            if isinstance(value, tuple) and len(value) not in (1, 3):
                raise ValueError(f"expected one or three numbers in {name}")
            if name == "scale" and value is not None and 0 in (value if isinstance(value, tuple) else (value,)):
                raise ValueError("expected a scale other than 0")


@with_config(CLOSED)
@dataclass(frozen=True, kw_only=True)
class ModelEntry(Decoding):
    """A model of the catalogue; `precisions` maps FP32, FP16 or FP16-INT8 to its files, the graph first."""

    origin: str = ""
    precisions: dict[str, tuple[FileEntry, ...]]

    def __post_init__(self) -> None:
        super().__post_init__()
        for precision, files in self.precisions.items():
            if precision not in PRECISIONS or not files:
                raise ValueError(f"{precision}: expected one of {', '.join(PRECISIONS)}, with files")


@with_config(CLOSED)
@dataclass(frozen=True, kw_only=True)
class ClipEntry(FileEntry):
    """A sample clip."""

    shows: str = ""
    licence: str = ""


@with_config(CLOSED)
@dataclass(frozen=True, kw_only=True)
class Catalogue:
    """All of `catalogue.yaml`."""

    sources: dict[str, str] = field(default_factory=dict)
    defaults: dict[str, tuple[str, ...]] = field(default_factory=dict)
    embedded: tuple[str, ...] = ()
    models: dict[str, ModelEntry] = field(default_factory=dict)
    clips: dict[str, ClipEntry] = field(default_factory=dict)

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
        name: ModelEntry(
            **{
                **entry,
                "labels": _labels(entry.get("labels")),
                "precisions": {
                    key: tuple(FileEntry(**file) for file in files) for key, files in entry["precisions"].items()
                },
                **{key: tuple(value) for key, value in entry.items() if key != "labels" and isinstance(value, list)},
            }
        )
        for name, entry in document["models"].items()
    }
    return Catalogue(
        **{
            **document,
            "defaults": {kind: tuple(names) for kind, names in document["defaults"].items()},
            "embedded": tuple(document["embedded"]),
            "models": models,
            "clips": {name: ClipEntry(**entry) for name, entry in document["clips"].items()},
        }
    )


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
        raise ModelError(f"The {what} {path} is not a mapping: expected the keys {', '.join(keys_of(kind))}.")
    try:
        return pydantic.TypeAdapter(kind).validate_python(document)
    except pydantic.ValidationError as error:
        words = side_file_errors.side_file_words(error, keys_of(kind), max_label=MAX_LABEL_CHARACTERS)
        end = "" if words.endswith("?") else "."
        raise ModelError(f"The {what} {path} is wrong at {words}{end}") from None


def keys_of(kind: type) -> list[str]:
    """The keys of an entry."""
    return [each.name for each in fields(kind)]
