"""Tracks of a frame for the live view: which detection belongs to which object, and in which zones the object is.

Made by the event service, joined to the frame by the relay, drawn by the dashboard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from elastic_inference.domain.late import late

if TYPE_CHECKING:
    import pydantic

    from elastic_inference.domain import fields as types
else:
    pydantic, types = late("pydantic"), late("elastic_inference.domain.fields")


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """A detection that belongs to a track."""

    index: Annotated[types.Count, pydantic.Field(description="The index of the detection in the frame's list, from 0.")]
    track: Annotated[str, pydantic.Field(description="The object's track, as in events: <stream>/<epoch>-<n>.")]
    zones: Annotated[tuple[str, ...], pydantic.Field(description="The zones that the object is in.")] = ()


@dataclass(frozen=True, slots=True)
class FrameTracks:
    """The tracks of one frame."""

    order: Annotated[types.Count, pydantic.Field(description="The frame's `order`.")]
    objects: Annotated[
        tuple[TrackedObject, ...], pydantic.Field(description="Detections without a track are left out.")
    ]
