"""The cameras of the pool as the gateway's REST documents and events show them; the only definition of their fields."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, SerializerFunctionWrapHandler, WrapSerializer, with_config

from elastic_inference.domain.camera import CameraLogin, CameraSpec, CameraStatus, CameraUrl, Certificate
from elastic_inference.domain.camera_choices import Transport
from elastic_inference.domain.fields import Count, Name
from elastic_inference.domain.late import CLOSED
from elastic_inference.domain.probe_report import ProbeReport

# The maximum of a JPEG in a probe's answer, which goes through Redis.
MAX_PREVIEW_BYTES = 1024 * 1024
# How long a probe may take; its answer comes at most 2 s later.
PROBE_LIMIT_S = 10.0


def _without_login(spec: CameraSpec, write: SerializerFunctionWrapHandler) -> Any:
    """Leaves the field out: null would remove the login if a client sent the document back."""
    return {name: value for name, value in write(spec).items() if name != "login"}


ShownSpec = Annotated[CameraSpec, WrapSerializer(_without_login)]


@with_config(CLOSED)
@dataclass(slots=True)
class Camera:
    """A camera of the pool."""

    name: Annotated[Name, Field(description="Its name, which is also that of its streams.")]
    revision: Annotated[Count, Field(description="Rises with each change of the specification; the ETag is this.")]
    spec: Annotated[
        ShownSpec,
        Field(description="Without `login`. Values of a URL's query are shown as ***, and may be sent back like that."),
    ]
    has_login: Annotated[bool, Field(description="Whether it has a user and password.")]
    status: CameraStatus


@with_config(CLOSED)
@dataclass(slots=True)
class Cameras:
    """All cameras of the pool that the token may see."""

    cameras: Annotated[tuple[Camera, ...], Field(description="Sorted by name.")]
    problem: Annotated[
        str | None,
        Field(
            description="Why cameras can't be changed now, or what is wrong with their file, as a sentence; null if "
            "they can."
        ),
    ]


class ProbeRequest(BaseModel):
    """What a probe should open."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True, defer_build=True
    )

    url: CameraUrl = Field(description="As `url` of a camera.")
    login: CameraLogin | None = Field(None, description="What the camera asks for.")
    transport: Transport = Transport.AUTO
    certificate: Certificate | None = Field(None, description="As `certificate` of a camera.")
    name: Name | None = Field(
        None,
        description="A camera of the pool: if the URL goes to its host, its login and the hidden values of its query "
        "are used where the request has none.",
    )


@with_config(CLOSED)
@dataclass(slots=True)
class CameraProbe:
    """What a probe found."""

    report: ProbeReport
    image: Annotated[
        str | None,
        Field(description=f"The first frame: a JPEG in base64. null if it is larger than {MAX_PREVIEW_BYTES} bytes."),
    ]
