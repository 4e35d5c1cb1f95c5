"""Tracks of a frame for the live view: which detection belongs to which object, and in which zones the object is.

Made by the event service, joined to the frame by the relay, drawn by the dashboard.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from elastic_inference.domain.fields import Count


@dataclass(frozen=True, slots=True)
class TrackedObject:
    """A detection that belongs to a track."""

    index: Annotated[Count, Field(description="The index of the detection in the frame's list, from 0.")]
    track: Annotated[str, Field(description="The object's track, as in events: <stream>/<epoch>-<n>.")]
    zones: Annotated[tuple[str, ...], Field(description="The zones that the object is in.")] = ()


@dataclass(frozen=True, slots=True)
class FrameTracks:
    """The tracks of one frame."""

    order: Annotated[Count, Field(description="The frame's `order`.")]
    objects: Annotated[tuple[TrackedObject, ...], Field(description="Detections without a track are left out.")]
