"""How a model's inputs are made and its outputs are read, as far as the catalogue or a side file says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from elastic_inference.adapters.catalogue.export_metadata import NO_METADATA, ExportMetadata


@dataclass(frozen=True, slots=True)
class AdapterOptions:
    """What the catalogue or a side file says about a model.

    `labels` are indexed by the model's class number ('' if a number is not used). `colour`, `mean` and `scale`
    override the family's own values; None keeps them. The input is (value - mean) / scale, with one or three numbers
    in 0..255. `size` (width, height) is for inputs of no fixed size, `layout` names a row of `layouts`, `overlap` is
    the limit of the suppression. `export` is the exporter's metadata. `wrapper` and `configuration`
    are for the `model-api` family only.
    """

    labels: tuple[str, ...] = ()
    colour: str | None = None
    mean: tuple[float, ...] | None = None
    scale: tuple[float, ...] | None = None
    size: tuple[int, int] | None = None
    layout: str | None = None
    overlap: float | None = None
    export: ExportMetadata = NO_METADATA
    wrapper: str | None = None
    configuration: Mapping[str, Any] | None = None
