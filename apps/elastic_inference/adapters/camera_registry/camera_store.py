"""The interface of a store of cameras: a file, or the custom resources of a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from elastic_inference.domain.camera import CameraSpec


class CameraStore(Protocol):
    """Where the cameras are stored. The owner calls one method at a time.

    Methods that change cameras raise CameraRefusal with the HTTP status that a client gets.
    """

    @property
    def problem(self) -> str:
        """Why cameras can't be read or changed, as a sentence; empty if they can."""

    async def refresh(self) -> None:
        """Looks for changes that others made; called every second. Errors become `problem`."""

    def cameras(self) -> Mapping[str, CameraSpec] | None:
        """All cameras with their logins; None until they have been read for the first time."""

    async def create(self, spec: CameraSpec) -> None:
        """Adds a camera."""

    async def replace(self, spec: CameraSpec) -> None:
        """Changes the camera of this name."""

    async def delete(self, name: str) -> None:
        """Removes a camera."""

    async def commit(self) -> None:
        """Makes all changes since the last commit durable; if it raises, none of them is made."""
