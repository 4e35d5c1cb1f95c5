"""The handlers of `/api/cameras`: the cameras of the pool, for admins. Registered in `routes`."""

from __future__ import annotations

from elastic_inference.domain.rest import Role
from elastic_inference.flows.gateway.handlers import ApiError, BaseHandler

NO_OWNER = "No service answers that may change cameras: start housekeeping with CAMERAS_FILE, or try again in a moment."


class _CameraBase(BaseHandler):
    """Base of the handlers of cameras: admins only, and no page of another site."""

    async def prepare(self) -> None:
        await super().prepare()
        if self.access.role is not Role.ADMIN:
            raise ApiError(403, "Only an admin may see and change cameras; this token's role is viewer.")
        self.check_origin()


class CamerasHandler(_CameraBase):
    """`/api/cameras`."""

    async def get(self) -> None:
        """Responds with all cameras."""
        raise ApiError(503, NO_OWNER, 2)

    async def post(self) -> None:
        """Adds a camera."""
        raise ApiError(503, NO_OWNER, 2)


class CameraHandler(_CameraBase):
    """`/api/cameras/<name>`."""

    async def get(self, _name: str) -> None:
        """Responds with one camera."""
        raise ApiError(503, NO_OWNER, 2)

    async def put(self, _name: str) -> None:
        """Replaces a camera."""
        raise ApiError(503, NO_OWNER, 2)

    async def patch(self, _name: str) -> None:
        """Changes a camera."""
        raise ApiError(503, NO_OWNER, 2)

    async def delete(self, _name: str) -> None:
        """Removes a camera."""
        raise ApiError(503, NO_OWNER, 2)


class ProbeHandler(_CameraBase):
    """`/api/cameras/probe`."""

    async def post(self) -> None:
        """Probes a camera."""
        raise ApiError(503, NO_OWNER, 2)
