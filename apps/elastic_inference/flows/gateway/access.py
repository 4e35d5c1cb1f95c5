"""The rights of a client: its role, and the cameras that it may see. Pure; made by `auth`, checked by the handlers.

A camera here is the name of a stream (`<name>` of `<name>:<type>:inferred`): a client that may see it sees all of its
types.
"""

from __future__ import annotations

import fnmatch
import re
from dataclasses import dataclass
from functools import lru_cache

from elastic_inference.domain import keys
from elastic_inference.domain.role import Role

ALL_CAMERAS = ("*",)


@dataclass(frozen=True, slots=True)
class Access:
    """The rights of one token. `fingerprint` names the token and does not reveal it; empty if none is needed."""

    name: str | None
    role: Role
    # Names of cameras; * matches any characters, ? a single one.
    cameras: tuple[str, ...]
    fingerprint: str = ""

    @property
    def sees_all(self) -> bool:
        """Whether every camera is visible."""
        return "*" in self.cameras

    @property
    def sees_pool(self) -> bool:
        """Whether pods, queues, drops and load of the whole pool are visible: to an admin of all cameras."""
        return self.role is Role.ADMIN and self.sees_all

    def sees(self, camera: str) -> bool:
        """Whether this camera is visible."""
        return self.sees_all or _matcher(self.cameras).fullmatch(camera) is not None

    def sees_stream(self, stream_id: str) -> bool:
        """Whether the camera of a stream id is visible; False for what is not an id."""
        names = keys.split_stream_id(stream_id)
        return names is not None and self.sees(names[0])


# Everyone's rights if no token is required.
EVERYBODY = Access(None, Role.ADMIN, ALL_CAMERAS)


@lru_cache(maxsize=1024)
def _matcher(patterns: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(fnmatch.translate(pattern) for pattern in patterns) or r"(?!)")
