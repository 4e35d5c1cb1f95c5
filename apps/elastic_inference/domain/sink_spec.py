"""A sink's specification: which events go where, and when. The only definition of the fields in `sinks.yaml` and REST.

A specification holds no secret: it names a file of SINK_SECRETS_DIR. Pure.
"""

from __future__ import annotations

import datetime
import json
import re
import zoneinfo
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self, get_args
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, field_validator, model_validator

from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.events.event import Event, EventKind, Phase
from elastic_inference.domain.fields import Name, shown_location

MAX_SINKS = 64
MAX_BATCH = 100
_MAX_PROBLEM = 400
_TIME = re.compile(r"([01]\d|2[0-3]):[0-5]\d")
SECRET = "{secret}"  # noqa: S105  where one goes, not one
_SECURE = ("https://", "mqtts://", "rediss://")
# The fields that name files of SINK_SECRETS_DIR.
_FILES = ("url_secret", "token", "sign", "password", "ca_file", "cert_file", "key_file")
SecretName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$", description="Name of a file in SINK_SECRETS_DIR.")
]
Names = Annotated[tuple[str, ...], Field(max_length=256)]


class SinkError(ElasticInferenceError):
    """A sink's specification is wrong. The text names the field and shows no value."""


class QuietHours(BaseModel):
    """Events that began at these times of day are left out. The span may include midnight."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, populate_by_name=True, hide_input_in_errors=True, defer_build=True
    )

    start: str = Field(alias="from", description="HH:MM.")
    end: str = Field(alias="to", description="HH:MM.")
    timezone: str = Field("UTC", max_length=64, description="Such as Europe/Berlin.")

    @field_validator("start", "end")
    @classmethod
    def _time(cls, value: str) -> str:
        if not _TIME.fullmatch(value):
            raise ValueError("expected HH:MM, in quotes")
        return value

    @field_validator("timezone")
    @classmethod
    def _zone(cls, value: str) -> str:
        try:
            zoneinfo.ZoneInfo(value)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError, OSError):
            raise ValueError("expected a time zone that this machine knows, such as UTC or Europe/Berlin") from None
        return value

    def holds(self, at_ms: float) -> bool:
        """Whether the time, in Unix milliseconds, is within the quiet hours."""
        at = datetime.datetime.fromtimestamp(at_ms / 1000, zoneinfo.ZoneInfo(self.timezone)).strftime("%H:%M")
        if self.start <= self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end


def _name_may_miss(schema: dict[str, Any]) -> None:
    """Completes the JSON Schema: the name is optional, since a request has it in its path."""
    schema["required"] = [name for name in schema.get("required", ()) if name != "name"]


class _Sink(BaseModel):
    """The fields of every sink: name, filters, quiet hours."""

    model_config = ConfigDict(
        extra="forbid",
        frozen=True,
        str_strip_whitespace=True,
        hide_input_in_errors=True,
        json_schema_extra=_name_may_miss,
        defer_build=True,
    )

    name: Annotated[Name, Field(description="Its name. A request may leave it out, since its path says it.")]
    enabled: bool = Field(True, description="If false, it gets nothing and keeps its position in the outbox.")
    kinds: Annotated[tuple[EventKind, ...], Field(max_length=8, description="Only events of these kinds.")] = ()
    phases: Annotated[tuple[Phase, ...], Field(max_length=3, description="Only these phases.")] = ()
    cameras: Annotated[Names, Field(description="Only of these cameras.")] = ()
    types: Annotated[Names, Field(description="Only of these inference types.")] = ()
    labels: Annotated[Names, Field(description="Only of objects with these labels.")] = ()
    zones: Annotated[Names, Field(description="Only of these zones and lines.")] = ()
    quiet_hours: Annotated[
        tuple[QuietHours, ...], Field(max_length=8, description="Events that began in these hours are left out.")
    ] = ()

    def takes(self, event: Event) -> bool:
        """Whether this sink gets the event. The time when an event began decides for all its phases."""
        wanted = (
            (self.kinds, event.kind),
            (self.phases, event.phase),
            (self.cameras, event.camera),
            (self.types, event.type),
            (self.labels, event.label),
        )
        if any(only and value not in only for only, value in wanted):
            return False
        if self.zones and event.zone not in self.zones and not set(self.zones).intersection(event.zones):
            return False
        return not any(each.holds(event.began_ms) for each in self.quiet_hours)

    @property
    def destination(self) -> str:
        """The destination of events, for people and logs: without path, query and secrets."""
        return ""


def _check_url(url: str, schemes: tuple[str, ...]) -> str:
    try:
        parts = urlsplit(url)
        port, host = parts.port, parts.hostname
    except ValueError:
        raise ValueError("expected a URL with a host and a port from 1 to 65535") from None
    if parts.scheme not in schemes or not host or port == 0:
        raise ValueError(f"expected a URL that begins with {' or '.join(f'{each}://' for each in schemes)} and a host")
    if parts.username or parts.password:
        raise ValueError("expected no login in the URL: put the password into a file of SINK_SECRETS_DIR")
    if any(ord(letter) <= 32 or ord(letter) >= 127 for letter in url):
        raise ValueError("expected only ASCII without spaces; percent-encode other characters")
    return url


class _TlsSink(_Sink):
    """What sinks have that may use TLS: whom they trust, and how they show who they are."""

    ca_file: SecretName | None = Field(
        None, description="PEM file with the authorities to trust, instead of the machine's own."
    )
    cert_file: SecretName | None = Field(None, description="PEM file with our client certificate.")
    key_file: SecretName | None = Field(None, description="PEM file with the key of `cert_file`, not encrypted.")

    @property
    def secure(self) -> bool:
        """Whether it uses TLS."""
        raise NotImplementedError

    @property
    def hosts(self) -> str:
        """The name that its certificate must have."""
        raise NotImplementedError

    @model_validator(mode="after")
    def _files(self) -> Self:
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("expected `cert_file` and `key_file` together")
        if not self.secure and (self.ca_file or self.cert_file):
            wanted = "`tls: true`" if isinstance(self, KafkaSink) else "a URL with https://, mqtts:// or rediss://"
            raise ValueError(f"expected {wanted}, since without TLS there are no certificates")
        return self


class _UrlSink(_TlsSink):
    """What sinks have whose destination is one URL."""

    schemes: ClassVar[tuple[str, ...]]
    if TYPE_CHECKING:  # each kind has a field of this name, with its own limits and description
        url: str

    @field_validator("url", check_fields=False)
    @classmethod
    def _url(cls, value: str) -> str:
        return _check_url(value, cls.schemes)

    @property
    def secure(self) -> bool:
        return self.url.startswith(_SECURE)

    @property
    def hosts(self) -> str:
        return str(urlsplit(self.url).hostname)

    @property
    def destination(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"


class WebhookSink(_UrlSink):
    """CloudEvents 1.0 over HTTP: binary mode, or the batched form if `batch` is more than 1."""

    schemes = ("http", "https")
    kind: Annotated[Literal["webhook"], Field(description="What it is.")]
    url: Annotated[str, Field(max_length=2000, description="http:// or https://; {secret} stands for `url_secret`.")]
    url_secret: SecretName | None = None
    token: SecretName | None = Field(None, description="Sent as a bearer token.")
    sign: SecretName | None = Field(None, description="The key of the HMAC signature.")
    batch: Annotated[int, Field(ge=1, le=MAX_BATCH, description="How many events one request may carry.")] = 1
    timeout_s: Annotated[float, Field(ge=0.1, le=60, description="For one request.")] = 10.0

    @model_validator(mode="after")
    def _secret(self) -> Self:
        if (self.url_secret is not None) != (SECRET in self.url):
            raise ValueError(f"expected `url_secret` and {SECRET} in the URL together")
        if SECRET in self.destination:
            raise ValueError(f"expected {SECRET} in the path or the query of the URL, not in its host")
        return self


class MqttSink(_UrlSink):
    """MQTT 5 with QoS 1, retained states of cameras and zones, and Home Assistant's discovery."""

    schemes = ("mqtt", "mqtts")
    kind: Annotated[Literal["mqtt"], Field(description="What it is.")]
    url: Annotated[str, Field(max_length=300, description="mqtt://host:1883 or mqtts://host:8883.")]
    topic: Annotated[
        str,
        Field(
            pattern=r"^[A-Za-z0-9_-]+(/[A-Za-z0-9_-]+){0,7}$", max_length=128, description="First part of all topics."
        ),
    ] = "elastic-inference"
    user: Annotated[str | None, Field(max_length=128, description="Whom it logs in as.")] = None
    password: SecretName | None = None
    discovery: Annotated[bool, Field(description="Announces cameras and zones to Home Assistant.")] = True
    timeout_s: Annotated[float, Field(ge=0.1, le=60, description="For one batch.")] = 10.0


class KafkaSink(_TlsSink):
    """A Kafka topic; the key is the stream, so that a stream's events keep their order."""

    kind: Annotated[Literal["kafka"], Field(description="What it is.")]
    brokers: Annotated[
        tuple[Annotated[str, Field(pattern=r"^[A-Za-z0-9.\[\]:_-]+:\d{1,5}$", max_length=260)], ...],
        Field(min_length=1, max_length=16, description="host:port of some of its servers."),
    ]
    topic: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,249}$", description="The topic.")] = (
        "elastic-inference-events"
    )
    tls: Annotated[bool, Field(description="Whether the servers use TLS.")] = False
    user: Annotated[str | None, Field(max_length=128, description="Login by SCRAM-SHA-512.")] = None
    password: SecretName | None = None
    timeout_s: Annotated[float, Field(ge=1, le=120, description="For one batch.")] = 20.0

    @property
    def secure(self) -> bool:
        return self.tls

    @property
    def hosts(self) -> str:
        return " or ".join(dict.fromkeys(host for host, _ in self.servers))

    @property
    def servers(self) -> tuple[tuple[str, int], ...]:
        """Host and port of each of `brokers`."""
        pairs = (each.rpartition(":") for each in self.brokers)
        return tuple((host.strip("[]"), int(port)) for host, _, port in pairs)

    @property
    def destination(self) -> str:
        return f"kafka://{','.join(self.brokers)}"


class RedisSink(_UrlSink):
    """A stream in a Redis of your own."""

    schemes = ("redis", "rediss")
    kind: Annotated[Literal["redis"], Field(description="What it is.")]
    url: Annotated[str, Field(max_length=300, description="redis://host:6379/0 or rediss://host:6379/0.")]
    stream: Annotated[str, Field(min_length=1, max_length=128, description="Key of the stream.")] = "events"
    maxlen: Annotated[int, Field(ge=1, le=10_000_000, description="How many entries the stream keeps.")] = 100_000
    user: Annotated[str | None, Field(max_length=128, description="Whom it logs in as.")] = None
    password: SecretName | None = None


class LogSink(_Sink):
    """One log line per event, for a first try."""

    kind: Annotated[Literal["log"], Field(description="What it is.")]

    @property
    def destination(self) -> str:
        return "the log"


SinkSpec = Annotated[WebhookSink | MqttSink | KafkaSink | RedisSink | LogSink, Field(discriminator="kind")]
_SINK: TypeAdapter[SinkSpec] = TypeAdapter(SinkSpec, config=ConfigDict(defer_build=True))
# The class of each kind.
SINK_KINDS: dict[str, type[BaseModel]] = {
    get_args(each.model_fields["kind"].annotation)[0]: each for each in get_args(get_args(SinkSpec)[0])
}


def read_sink(document: Any) -> SinkSpec:
    """The specification of a sink. Raises SinkError that names the field."""
    try:
        # Only JSON may give a tuple as a list while 0 is not false.
        written = json.dumps(document, default=str)
    except (TypeError, ValueError, RecursionError):
        raise SinkError("expected plain values, lists and maps") from None
    try:
        return _SINK.validate_json(written, strict=True)
    except ValidationError as error:
        found = error.errors(include_url=False, include_input=False)[0]
    # The first part is the kind, by which pydantic has chosen the class.
    parts = [str(part) for part in found["loc"] if str(part) not in SINK_KINDS]
    where = shown_location(parts[:4]) or ("kind" if str(found["type"]).startswith("union_tag") else "")
    words = str(found["msg"]).removeprefix("Value error, ")
    if found["type"] == "extra_forbidden":
        words = "there is no such field"
    if str(found["type"]).startswith("union_tag"):
        words = f"expected one of {', '.join(SINK_KINDS)}"
    raise SinkError(f"{where + ': ' if where else ''}{words[:1].lower()}{words[1:]}"[:_MAX_PROBLEM])


def rest_refusal(spec: SinkSpec) -> str | None:
    """Why REST may not add this sink, although the operator's file may; None if it may."""
    if isinstance(spec, KafkaSink):
        return "kind: a Kafka sink must be in SINKS_FILE, since Kafka's servers name further addresses themselves"
    document = spec.model_dump()
    for field in _FILES:
        named = document.get(field)
        if named is not None and not named.startswith(f"{spec.name}."):
            return f"{field}: expected a file that is this sink's own: its name must begin with {spec.name}."
    return None


def sink_document(spec: SinkSpec) -> dict[str, Any]:
    """The specification as JSON values, with only what differs from the defaults."""
    found: dict[str, Any] = _SINK.dump_python(spec, mode="json", exclude_defaults=True, by_alias=True)
    return found
