"""The handlers of `/api/cameras`: the cameras of the pool, for admins. Registered in `routes`."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import quote

from elastic_inference.domain import keys
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.domain.camera_changes import read_model
from elastic_inference.domain.camera_documents import Camera, ProbeRequest
from elastic_inference.domain.camera_errors import CameraRefusal
from elastic_inference.domain.rest import document_json
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.handlers import ApiError, BaseHandler

_RETRY_S = {429: 2.0, 503: 2.0}
_ETAG = re.compile(r'"(\d{1,16})"')


class _CameraBase(BaseHandler):
    """Base of the camera handlers: admins only, and no changes from pages of other sites."""

    async def prepare(self) -> None:
        """Checks the role too, and the origin of a change."""
        await super().prepare()
        if self.access.role is not Role.ADMIN and self.request.method in self.allowed_methods():
            raise ApiError(403, "Only an admin may see and change cameras; this token's role is viewer.")
        if self.request.method not in ("GET", "HEAD"):
            self.check_origin()

    def body(self) -> dict[str, Any]:
        """The request's JSON object. Raises ApiError 400."""
        try:
            found = json.loads(self.request.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise ApiError(400, "Expected a JSON object.")
        return found

    def revision(self) -> int | None:
        """The revision of If-Match; None without it or for `*`, and 0, which no camera has, for any other text."""
        text = self.request.headers.get("If-Match", "*").strip()
        match = _ETAG.fullmatch(text)
        return None if text == "*" else int(match[1]) if match else 0

    def answer_camera(self, camera: Camera, status: int = 200) -> None:
        """Responds with a camera and its revision."""
        self.set_status(status)
        self.set_header("Etag", f'"{camera.revision}"')
        self.answer_json(camera)

    async def change(self, action: str, name: str, spec: dict[str, Any]) -> None:
        """Has the owner make a change, and responds with the camera."""
        status, camera = await self.gateway.parts.cameras.change(action, name, spec, self.access, self.revision())
        if status == 201:
            self.set_header("Location", f"{self.prefix}/api/cameras/{quote(name)}")
        if camera is None:
            self.set_status(204)
            self.clear_header("Content-Type")
            self.finish()
        else:
            self.answer_camera(camera, status)

    def refuse(self, refusal: CameraRefusal) -> ApiError:
        """The refusal as an error response."""
        return ApiError(refusal.status, str(refusal), _RETRY_S.get(refusal.status), refusal.fields)


class CamerasHandler(_CameraBase):
    """`/api/cameras`."""

    async def get(self) -> None:
        """Responds with all cameras."""
        try:
            body = document_json(await self.gateway.parts.cameras.cameras(self.access))
        except CameraRefusal as refusal:
            raise self.refuse(refusal) from None
        self.set_header("Content-Type", "application/json")
        await self.send(body, own=True)

    head = get

    async def post(self) -> None:
        """Adds a camera."""
        given = self.body()
        try:
            name = read_model(CameraSpec, given).name
            await self.change("create", name, given)
        except CameraRefusal as refusal:
            raise self.refuse(refusal) from None


class CameraHandler(_CameraBase):
    """`/api/cameras/<name>`."""

    async def get(self, name: str) -> None:
        """Responds with one camera."""
        try:
            self.answer_camera(await self.gateway.parts.cameras.camera(name, self.access))
        except CameraRefusal as refusal:
            raise self.refuse(refusal) from None

    head = get

    async def put(self, name: str) -> None:
        """Replaces a camera."""
        await self._change("replace", name, self.body())

    async def patch(self, name: str) -> None:
        """Changes a camera."""
        await self._change("patch", name, self.body())

    async def delete(self, name: str) -> None:
        """Removes a camera."""
        await self._change("delete", name, {})

    async def _change(self, action: str, name: str, spec: dict[str, Any]) -> None:
        if not keys.is_name(name):
            raise ApiError(404, f"There is no camera {name[:200]!r}.")
        try:
            await self.change(action, name, spec)
        except CameraRefusal as refusal:
            raise self.refuse(refusal) from None


class ProbeHandler(_CameraBase):
    """`/api/cameras/probe`."""

    async def post(self) -> None:
        """Probes a camera."""
        given = self.body()
        try:
            read_model(ProbeRequest, given)
            found = await self.gateway.parts.cameras.probe(given, self.access)
        except CameraRefusal as refusal:
            raise self.refuse(refusal) from None
        self.set_header("Content-Type", "application/json")
        await self.send(document_json(found), own=True)
