"""`catalogue.yaml` and side files (`<model>.yaml` beside a model) as validated objects. Does not use the network."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from elastic_inference.adapters.catalogue.export_metadata import ExportMetadata, from_mapping, is_metadata, read_yaml
from elastic_inference.domain.errors import ModelError

CATALOGUE_FILE = Path(__file__).with_name("catalogue.yaml")
PRECISIONS = ("FP32", "FP16", "FP16-INT8")
MAX_LABEL = 10_000
Side = Annotated[int, Field(ge=16, le=8192)]


class _Entry(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    labels: dict[int, str] | tuple[str, ...] | None = None
    threshold: float | None = Field(default=None, ge=0, le=1)
    task: str = "detection"
    licence: str = ""
    colour: str | None = Field(default=None, pattern=r"^(BGR|RGB|bgr|rgb)$")
    mean: tuple[float, ...] | float | None = None
    scale: tuple[float, ...] | float | None = None
    size: tuple[Side, Side] | Side | None = None
    layout: str | None = None
    overlap: float | None = Field(default=None, gt=0, le=1)
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
def load_catalogue(path: Path = CATALOGUE_FILE) -> Catalogue:
    """Loads a catalogue. Raises ModelError if it is missing or invalid."""
    return Catalogue.model_validate(_read(path, Catalogue, "model catalogue"))


def load_side_file(path: Path) -> Decoding | ExportMetadata:
    """Loads the side file of a custom model, or an exporter's `metadata.yaml` that was given the side file's name.

    Raises ModelError if it is invalid.
    """
    what = "side file"
    document = read_yaml(path, what)
    if is_metadata(document):
        return from_mapping(document)
    return Decoding.model_validate(_checked(document, path, Decoding, what))


def _read(path: Path, kind: type[BaseModel], what: str) -> Mapping[str, Any]:
    return _checked(read_yaml(path, what), path, kind, what)


def _checked(document: Mapping[str, Any], path: Path, kind: type[BaseModel], what: str) -> Mapping[str, Any]:
    if not document:
        raise ModelError(f"The {what} {path} is not a mapping: expected the keys {', '.join(kind.model_fields)}.")
    try:
        kind.model_validate(document)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(str(part) for part in first["loc"]) or "the whole"
        raise ModelError(f"The {what} {path} is wrong at {where}: {first['msg']}.") from None
    return document
