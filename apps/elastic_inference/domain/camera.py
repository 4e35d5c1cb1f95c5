"""A camera of the pool: what an operator asks for (`CameraSpec`) and what the pool reports (`Camera`).

`CameraSpec` is the only definition for the REST body, the custom resource, `cameras.yaml` and the documents.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    SecretStr,
    ValidationInfo,
    field_validator,
    model_validator,
    with_config,
)

from elastic_inference.domain.camera_choices import (
    FILE_SCHEME,
    LATER_SCHEMES,
    LISTENING,
    NETWORK_SCHEMES,
    NO_SRT,
    GateKind,
    ImageSize,
    Transport,
    check_listener,
)
from elastic_inference.domain.events.rules import MAX_LINES, MAX_ZONES, CameraRules, Line, Zone, each_name_once
from elastic_inference.domain.fields import Count, Name, Rate
from elastic_inference.domain.hidden_url import hide_values
from elastic_inference.domain.late import CLOSED

MAX_CAMERAS = 4096
# The cost of a camera, in CPU seconds a second, while no camera of the pool has been measured.
COST_ESTIMATE = 0.15
MAX_URL = 2048
MAX_LABELS = 16
_USB = "a USB camera cannot be in the pool: give it a service of its own (tools/run-css.sh -v 0)"
_EXPECTED_URL = f"expected rtsp://host/path (or {', '.join(NETWORK_SCHEMES[1:])}), or file:///path of a video"

_Label = Annotated[str, Field(min_length=1, max_length=63)]
_Pixels = Annotated[int | None, Field(ge=16, le=16384)]


def _check_url(value: str) -> str:
    if any(ord(character) < 33 for character in value):
        raise ValueError(f"{_EXPECTED_URL}, without spaces and control characters")
    if value.isdecimal() or value.startswith("/dev/"):
        raise ValueError(_USB)
    try:
        parts = urlsplit(value)
        good = parts.port != 0
    except ValueError:
        raise ValueError(_EXPECTED_URL) from None
    if parts.scheme in LATER_SCHEMES:
        raise ValueError(LATER_SCHEMES[parts.scheme])
    if parts.scheme == FILE_SCHEME:
        if parts.netloc or not parts.path.startswith("/") or parts.query or parts.fragment:
            raise ValueError("expected file:///path/of/the/video")
        return value
    if parts.scheme == "srt":
        raise ValueError(NO_SRT)
    check_listener(value)
    if parts.scheme not in NETWORK_SCHEMES or not parts.hostname or not good:
        raise ValueError(_EXPECTED_URL)
    if "@" in parts.netloc:
        if parts.scheme in LISTENING:
            raise ValueError("expected no @ in the URL: write only the address and the port")
        raise ValueError("expected no user and password in the URL: put them into `login`")
    return value


CameraUrl = Annotated[str, Field(max_length=MAX_URL), AfterValidator(_check_url)]
Certificate = Annotated[
    str, Field(max_length=256, pattern=r"^(sha256:([0-9a-fA-F]{2}:?){32}|[A-Za-z0-9][A-Za-z0-9._-]*\.pem)$")
]


class CameraLogin(BaseModel):
    """A user and password that the camera asks for. `str()` and `repr()` show no password."""

    model_config = ConfigDict(extra="forbid", frozen=True, defer_build=True)

    user: str = Field(min_length=1, max_length=256, description="The user's name at the camera.")
    password: SecretStr = Field(
        max_length=1024, description="It is never shown again.", json_schema_extra={"writeOnly": True}
    )

    @field_validator("password")
    @classmethod
    def _in_utf8(cls, value: SecretStr) -> SecretStr:
        # Pydantic checks this for all texts except secrets.
        try:
            value.get_secret_value().encode()
        except UnicodeEncodeError:
            raise ValueError("expected a text in UTF-8") from None
        return value


class CameraSpec(BaseModel):
    """What an operator asks for. An unknown field is an error."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, str_strip_whitespace=True, hide_input_in_errors=True, defer_build=True
    )

    name: Name = Field(description="Its name, which is also that of its streams; it never changes.")
    url: CameraUrl = Field(description=f"Without user and password: {_EXPECTED_URL.removeprefix('expected ')}")
    login: CameraLogin | None = Field(None, description="What the camera asks for; it is never shown again.")
    login_secret: str | None = Field(
        None,
        max_length=253,
        pattern=r"^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$",
        description="Kubernetes: the Secret that holds `user` and `password`, instead of `login`.",
    )
    types: tuple[Name, ...] = Field(("people",), min_length=1, max_length=16, description="Inference types.")
    fps: float = Field(15.0, gt=0, le=240, description="At most this many frames a second.")
    width: _Pixels = Field(None, description="Resize to this width, pixels.")
    height: _Pixels = Field(None, description="Resize to this height, pixels.")
    quality: int = Field(80, ge=1, le=100, description="JPEG quality of frames that are encoded here.")
    size: ImageSize | None = Field(
        None, description="The size of its frames; by default CAMERA_SIZE of the source worker."
    )
    gate: GateKind | None = Field(
        None, description="Which frames are inferred (default: CAMERA_GATE of the source worker, which is none)."
    )
    transport: Transport = Transport.AUTO
    substream: CameraUrl | None = Field(
        None,
        description="A smaller stream of the same view, with the same login: it is read while nobody watches.",
    )
    certificate: Certificate | None = Field(
        None,
        description="The certificate to trust for https, rtsps and rtmps: sha256:<fingerprint>, or a PEM file's name.",
    )
    enabled: bool = Field(True, description="false pauses the camera.")
    labels: dict[_Label, Annotated[str, Field(max_length=256)]] = Field(
        default_factory=dict, max_length=MAX_LABELS, description="Labels of your own, such as `site`."
    )
    zones: Annotated[tuple[Zone, ...], AfterValidator(each_name_once)] = Field(
        (), max_length=MAX_ZONES, description="Parts of its frames: who enters, stays or leaves makes an event."
    )
    lines: Annotated[tuple[Line, ...], AfterValidator(each_name_once)] = Field(
        (), max_length=MAX_LINES, description="Lines in its frames: who crosses one makes an event."
    )

    @field_validator("substream")
    @classmethod
    def _no_file(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is not None and f"{FILE_SCHEME}:" in (value[:5], str(info.data.get("url"))[:5]):
            raise ValueError("expected none: only cameras with a network address have a substream")
        return value

    @field_validator("types")
    @classmethod
    def _each_type_once(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if len(set(value)) != len(value):
            raise ValueError("expected each inference type once")
        return value

    @model_validator(mode="after")
    def _one_login(self) -> CameraSpec:
        if self.login is not None and self.login_secret is not None:
            raise ValueError("expected `login` or `login_secret`, not both")
        return self

    @property
    def is_file(self) -> bool:
        """Whether its URL is a file, which plays in a loop."""
        return self.url.startswith(f"{FILE_SCHEME}:")

    @property
    def rules(self) -> CameraRules:
        """Its zones and lines."""
        return CameraRules(self.zones, self.lines)

    def public(self) -> CameraSpec:
        """The specification without the login, and without the values in the URLs that are secrets too."""
        substream = None if self.substream is None else hide_values(self.substream)
        return self.model_copy(update={"login": None, "url": hide_values(self.url), "substream": substream})


class CameraState(StrEnum):
    """What a camera does. The first five are the source's; see `doc/cameras.md`."""

    LIVE = "live"
    STALLED = "stalled"
    RECONNECTING = "reconnecting"
    WAITING_FOR_KEY_FRAME = "waiting_for_key_frame"
    QUIET = "quiet"  # nothing moves, so the gate lets nothing through
    PAUSED = "paused"  # not enabled
    UNASSIGNED = "unassigned"  # no worker has room, or none runs
    QUARANTINED = "quarantined"  # it has crashed the decoder twice; it runs in a process of its own, with pauses


@with_config(CLOSED)
@dataclass(slots=True)
class CameraStatus:
    """What the pool reports about one camera."""

    state: CameraState
    reason: Annotated[str | None, Field(description="The reason for the state, in a sentence.")] = None
    worker: Annotated[Name | None, Field(description="The source worker that runs it.")] = None
    fps: Annotated[Rate, Field(description="Frames a second that the source delivers, under the cap.")] = 0.0
    cost: Annotated[Rate, Field(description="CPU seconds that it takes per second; expected until measured.")] = 0.0
    width: Annotated[Count | None, Field(description="Of the last frame, pixels.")] = None
    height: Annotated[Count | None, Field(description="Of the last frame, pixels.")] = None
    reconnects: Annotated[Count, Field(description="How often it has been opened again.")] = 0
    since_ms: Annotated[Rate, Field(description="In this state since, Unix milliseconds.")] = 0.0
    frame_ms: Annotated[Rate | None, Field(description="Capture time of the last frame, Unix milliseconds.")] = None
    waiting_types: Annotated[
        tuple[Name, ...],
        Field(description="Its inference types that no pod serves now; the camera itself may be live all the same."),
    ] = ()
