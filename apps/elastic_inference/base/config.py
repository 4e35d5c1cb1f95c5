"""Settings: what each service reads from the environment, checked once at start.

Entry points call `load`; the rest of the package gets a frozen settings object. Every field's name in upper case is
its variable; `config_document` writes `doc/configuration.md` from the fields.
Nothing reads the environment at import.
"""

from __future__ import annotations

import ipaddress
import re
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, ClassVar, Literal, TypeVar
from urllib.parse import unquote, urlsplit

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, field_validator
from pydantic_core import ErrorDetails

from elastic_inference.domain import keys
from elastic_inference.domain.errors import SettingError

FORMER_NAMES = {
    "INPUT_QUEUE_HOST": "QUEUE_HOST",
    "OUTPUT_BROKER_HOST": "BROKER_HOST",
    "STREAM_BROKER_HOST": "BROKER_HOST",
    "STREAM_BROKER_PORT": "BROKER_PORT",
    "STREAM_BROKER_REDIS_HOST": "BROKER_HOST",
    "STREAM_BROKER_REDIS_PORT": "BROKER_PORT",
    "CAMERA_INDEX": "CAMERA",
    "MODEL_DIR": "INFER_MODEL_PATH",
}
REDIS_SCHEMES = ("redis", "rediss", "unix", "redis+sentinel", "rediss+sentinel", "redis+cluster", "rediss+cluster")
NOT_ENCODED = (
    "expected no @ behind the host: percent-encode the password (@ is %40, / is %2F, # is %23, ? is %3F, : is %3A)"
)

Port = Annotated[int, Field(ge=1, le=65535)]
PortOrFree = Annotated[int, Field(ge=0, le=65535)]
S = TypeVar("S", bound="CommonSettings")


def hide_password(url: str) -> str:
    """`url` with user and password taken out and the query cut off: fit for a log or a label.

    Also where it is mistyped, or the password holds what it should have encoded: then too little shows, not too much.
    """
    scheme, found, rest = url.partition("://")
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9+.-]*", scheme) or not found:
        scheme, found, rest = "", "", url
    before, at, behind = rest.rpartition("@")
    if at and "?" in before:
        return f"{scheme}{found}(hidden)"  # a password's question mark, or an @ in a query: nobody can tell
    if at or found:
        behind = re.split("[?#]", behind, maxsplit=1)[0]
    return f"{scheme}{found}{behind.partition('?')[0]}"


def check_host(host: str) -> str:
    """`host`, where it is a name or an address alone. Raises ValueError that says what is expected.

    What passes can be looked up without a UnicodeError.
    """
    bare = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    try:
        if ":" in bare:
            ipaddress.IPv6Address(bare)
        bare.encode("idna")
        good = bool(bare) and not re.search(r"[\s/?#@,\[\]]", bare)
    except ValueError:  # a UnicodeError is one
        good = False
    if not good:
        raise ValueError("expected a host name or an IP address alone, without scheme, port or path")
    return host


def _split_authority(url: str) -> tuple[str, str]:
    """(login, host and port) and (path, query and fragment) of a URL; several hosts, as Sentinel has, are fine."""
    rest = url.partition("://")[2]
    authority = re.split("[/?#]", rest, maxsplit=1)[0]
    return authority, rest[len(authority) :]


def _check_url(url: str, expected: str) -> None:
    """Raises ValueError, which says what is `expected`, where the address of a URL can't be used."""
    if "@" in _split_authority(url)[1]:
        raise ValueError(NOT_ENCODED)
    try:
        parts = urlsplit(url)
        check_host(parts.hostname or "")
        good = parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ValueError(f"{expected}, with a host name or an IP address and a port of 1 to 65535")


class RedisTarget(BaseModel):
    """Where a Redis is and how to log in. `str()` and `repr()` show no secret."""

    model_config = ConfigDict(frozen=True)

    url: SecretStr
    username: str | None = None
    password: SecretStr | None = None
    ca_file: str | None = None

    def __str__(self) -> str:
        return hide_password(self.url.get_secret_value())

    def __repr__(self) -> str:
        return f"RedisTarget({self})"


class CommonSettings(BaseModel):
    """What every service reads."""

    model_config = ConfigDict(frozen=True, extra="ignore", str_strip_whitespace=True, hide_input_in_errors=True)
    service: ClassVar[str] = "all"

    queue_url: SecretStr | None = Field(
        None,
        description="the frame queue's Redis: redis://host:port/db, rediss://, unix://, "
        "redis+sentinel://h:p,h:p/<name>/<db> or redis+cluster://h:p,…",
    )
    queue_host: str = Field("127.0.0.1", description="host of the frame queue, where QUEUE_URL is not set")
    queue_port: Port = Field(6379, description="port of the frame queue, where QUEUE_URL is not set")
    queue_username: str | None = Field(None, description="user of the frame queue")
    queue_password: SecretStr | None = Field(None, description="its password")
    queue_password_file: Path | None = Field(None, description="a file that holds its password")
    queue_ca_file: Path | None = Field(None, description="certificate authorities (PEM) for rediss://")
    broker_url: SecretStr | None = Field(None, description="the stream broker's Redis (default: the queue's)")
    broker_host: str | None = Field(None, description="host of the broker, where BROKER_URL is not set")
    broker_port: Port | None = Field(None, description="port of the broker (6379)")
    broker_username: str | None = Field(
        None, description="user of the broker (default: the queue's, where BROKER_URL holds no login)"
    )
    broker_password: SecretStr | None = Field(
        None, description="its password (default: the queue's, where BROKER_URL holds no login)"
    )
    broker_password_file: Path | None = Field(None, description="a file that holds its password")
    broker_ca_file: Path | None = Field(None, description="certificate authorities (PEM) for rediss://")
    metrics_port: PortOrFree = Field(
        0, description="port of /metrics, /healthz and /readyz; 0 takes a free one and logs it (8000 in the images)"
    )
    metrics_host: str | None = Field(None, description="address that this port listens on (default: all)")
    metrics_window_s: float = Field(5.0, ge=1, le=300, description="window of the rates, seconds")
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field("INFO", description="least level that is logged")
    log_format: Literal["text", "json"] = Field("text", description="form of the log lines")

    @field_validator("log_level", mode="before")
    @classmethod
    def _upper(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @field_validator("queue_url", "broker_url")
    @classmethod
    def _redis_url(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            scheme, found, rest = value.get_secret_value().partition("://")
            if not found or scheme not in REDIS_SCHEMES or not rest:
                raise ValueError(
                    f"expected a URL that starts with one of {', '.join(s + '://' for s in REDIS_SCHEMES)}"
                )
            if "@" in _split_authority(value.get_secret_value())[1]:
                raise ValueError(NOT_ENCODED)
        return value

    @field_validator("queue_host", "broker_host", "metrics_host", "websocket_host", "gateway_host", check_fields=False)
    @classmethod
    def _hosts(cls, value: str | None) -> str | None:
        return value if value is None else check_host(value)

    @property
    def queue(self) -> RedisTarget:
        """The frame queue's Redis."""
        url = self.queue_url or SecretStr(f"redis://{_host(self.queue_host)}:{self.queue_port}/0")
        password = self.queue_password or _read_secret("QUEUE_PASSWORD_FILE", self.queue_password_file)
        ca_file = str(self.queue_ca_file) if self.queue_ca_file else None
        return RedisTarget(url=url, username=self.queue_username, password=password, ca_file=ca_file)

    @property
    def broker(self) -> RedisTarget:
        """The stream broker's Redis; what is not set for it is the queue's.

        A BROKER_URL with a login of its own takes none from the queue: that password is for another server.
        """
        queue = self.queue
        if self.broker_url:
            url = self.broker_url
        elif self.broker_host or self.broker_port:
            url = SecretStr(f"redis://{_host(self.broker_host or self.queue_host)}:{self.broker_port or 6379}/0")
        else:
            url = queue.url
        own = self.broker_password or _read_secret("BROKER_PASSWORD_FILE", self.broker_password_file)
        inherits = url == queue.url or url_credentials(url.get_secret_value()) == (None, None)
        return RedisTarget(
            url=url,
            username=self.broker_username or (queue.username if inherits else None),
            password=own or (queue.password if inherits else None),
            ca_file=str(self.broker_ca_file) if self.broker_ca_file else queue.ca_file,
        )


class QueueRules(BaseModel):
    """Bounds of the frame queue; the same everywhere in one installation."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    stream_queue_depth: int = Field(4, ge=1, le=1024, description="waiting frames of one stream")
    queue_depth: int = Field(256, ge=1, le=65536, description="waiting frames of plain producers")
    token_limit: int = Field(4096, ge=1, le=1_000_000, description="waiting frames of one type")
    max_frame_age_s: float = Field(2.0, ge=0.1, le=3600, description="older waiting frames are dropped, seconds")
    max_frame_bytes: int = Field(4 * 1024 * 1024, ge=1024, le=512 * 1024 * 1024, description="largest frame message")
    max_frame_pixels: int = Field(
        33_000_000,
        ge=1024,
        le=1_000_000_000,
        description="largest picture, pixels; over 33 million it is inferred, but not drawn",
    )


class ProducerSettings(CommonSettings, QueueRules):
    """What both stream services read."""

    infer_type: tuple[str, ...] = Field(
        ("people",), description="inference types that get each frame, comma-separated (inference: exactly one)"
    )
    stream_name: str | None = Field(
        None, description="name of the stream (default: host or pod name, `-camera` or `-file`)"
    )
    frame_width: int | None = Field(None, ge=16, le=16384, description="resize to this width, pixels")
    frame_height: int | None = Field(None, ge=16, le=16384, description="resize to this height, pixels")
    jpeg_quality: int = Field(80, ge=1, le=100, description="JPEG quality of what is encoded here")

    @field_validator("infer_type", mode="before")
    @classmethod
    def _types(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("infer_type")
    @classmethod
    def _type_names(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value:
            raise ValueError("expected at least one inference type")
        if len(set(value)) != len(value):
            raise ValueError("expected each inference type once")
        for name in value:
            if not keys.is_name(name):
                raise ValueError(f"{name[:40]!r}: {keys.NAME_RULE}")
        return value

    @field_validator("stream_name")
    @classmethod
    def _stream_name(cls, value: str | None) -> str | None:
        if value is not None and not keys.is_name(value):
            raise ValueError(keys.NAME_RULE)
        return value


class CameraSettings(ProducerSettings):
    """The camera stream service."""

    service = "camera stream"
    camera: str = Field("0", description="USB index, /dev/videoN, rtsp://… or http://… (MJPEG)")
    camera_fps: float = Field(
        15.0, gt=0, le=240, description="frames a second asked of a USB camera; caps network cameras"
    )
    source_stall_s: float = Field(
        5.0, ge=0.5, le=600, description="no frame for so long is a stall: reconnect, seconds"
    )

    @field_validator("camera")
    @classmethod
    def _camera(cls, value: str) -> str:
        if value.isdigit() and int(value) < 256:
            return value
        if value.startswith("/dev/"):
            return value
        if value.lower().startswith(("rtsp://", "rtsps://", "http://", "https://")):
            _check_url(value, "expected rtsp://… or http://…")
            return value
        raise ValueError("expected a USB index, /dev/videoN, rtsp://… or http://…")


class FileSettings(ProducerSettings):
    """The file stream service."""

    service = "file stream"
    video_file: Path = Field(..., description="any video file that OpenCV reads; it loops")
    video_fps: float | None = Field(None, gt=0, le=1000, description="frames a second (default: the file's)")


class InferenceSettings(CommonSettings, QueueRules):
    """The inference service."""

    service = "inference"
    infer_type: str = Field(
        "people", description="inference types that get each frame, comma-separated (inference: exactly one)"
    )
    infer_model_name: str | None = Field(
        None, description="model of the catalogue with its precision, such as face-detection-retail-0005_FP32"
    )
    infer_model_path: Path | None = Field(None, description="a model file, or the folder to look the name up in")
    infer_device: str = Field("CPU", description="OpenVINO device: CPU, GPU, NPU, AUTO, HETERO:GPU,CPU …")
    model_cache_dir: Path | None = Field(
        None, description="a folder to write to: compiled models are kept there, for a faster start"
    )
    confidence_threshold: float = Field(
        0.5, ge=0, le=1, description="least confidence of a detection (not set: the model's own, where it has one)"
    )
    results_maxlen: int = Field(10_000, ge=0, le=10_000_000, description="entries kept in results_<type>; 0 is off")

    @field_validator("infer_type")
    @classmethod
    def _type_name(cls, value: str) -> str:
        if not keys.is_name(value):
            raise ValueError(keys.NAME_RULE)
        return value


class WebsocketSettings(CommonSettings):
    """The websocket server."""

    service = "websocket server"
    websocket_host: str = Field("0.0.0.0", description="address that the websocket server listens on")  # noqa: S104
    websocket_port: PortOrFree = Field(31611, description="port that the websocket server listens on; 0 is a free one")
    max_viewers: int = Field(1000, ge=1, le=100_000, description="open websockets at most")
    reorder_ms: float = Field(100.0, ge=0, le=10_000, description="how long a result waits for a missing predecessor")
    allowed_origins: tuple[str, ...] = Field((), description="further origins of browsers, comma-separated")

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


class HousekeepingSettings(CommonSettings, QueueRules):
    """Housekeeping."""

    service = "housekeeping"


class GatewaySettings(CommonSettings):
    """The gateway."""

    service = "gateway"
    gateway_host: str = Field("0.0.0.0", description="address that the gateway listens on")  # noqa: S104
    gateway_port: PortOrFree = Field(5000, description="port that the gateway listens on; 0 is a free one")
    websocket_server_url: str = Field("ws://127.0.0.1:31611", description="where the websocket server is")
    max_viewers: int = Field(1000, ge=1, le=100_000, description="open websockets at most")
    gateway_token: SecretStr | None = Field(None, description="token that the dashboard and the REST API ask for")
    gateway_token_file: Path | None = Field(None, description="a file that holds it")
    gateway_tls_cert: Path | None = Field(None, description="certificate chain (PEM): serve HTTPS")
    gateway_tls_key: Path | None = Field(None, description="its key (PEM)")
    allowed_origins: tuple[str, ...] = Field((), description="further origins of browsers, comma-separated")
    dashboard_dir: Path | None = Field(None, description="folder of the built dashboard (default: the packaged one)")

    @field_validator("allowed_origins", mode="before")
    @classmethod
    def _origins(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("websocket_server_url")
    @classmethod
    def _websocket_url(cls, value: str) -> str:
        if not value.lower().startswith("ws://"):
            raise ValueError("expected ws://host:port")
        _check_url(value, "expected ws://host:port")
        return value

    @property
    def token(self) -> SecretStr | None:
        """The token that requests must carry, None where the gateway is open."""
        return self.gateway_token or _read_secret("GATEWAY_TOKEN_FILE", self.gateway_token_file)


def load(settings_class: type[S], environ: Mapping[str, str]) -> S:
    """Settings of a service from environment variables; an empty variable counts as not set.

    Former names are accepted with one warning each. Raises SettingError that names the variable, its value (never a
    secret's) and what is accepted.
    """
    env = {name: value for name, value in environ.items() if value.strip()}
    for former, present in FORMER_NAMES.items():
        if former in env:
            warnings.warn(f"{former} is the former name of {present}: use {present}", FutureWarning, stacklevel=2)
            env.setdefault(present, env[former])
    if "WEBSOCKET_SERVER_HOST" in env:
        warnings.warn(
            "WEBSOCKET_SERVER_HOST is the former form of WEBSOCKET_SERVER_URL: use WEBSOCKET_SERVER_URL",
            FutureWarning,
            stacklevel=2,
        )
        host, port = env["WEBSOCKET_SERVER_HOST"], env.get("WEBSOCKET_SERVER_PORT", "31611")
        env.setdefault("WEBSOCKET_SERVER_URL", f"ws://{_host(host)}:{port}")
    values = {name: env[name.upper()] for name in settings_class.model_fields if name.upper() in env}
    try:
        settings = settings_class.model_validate(values)
        settings.broker  # noqa: B018  reads the password files, so that a missing one shows at start
    except ValidationError as error:
        raise _setting_error(settings_class, error.errors(include_url=False)[0], values) from None
    return settings


def queue_rules(environ: Mapping[str, str]) -> QueueRules:
    """The bounds of the frame queue alone. Raises SettingError as `load` does."""
    values = {name: environ[name.upper()] for name in QueueRules.model_fields if environ.get(name.upper(), "").strip()}
    try:
        return QueueRules.model_validate(values)
    except ValidationError as error:
        raise _setting_error(QueueRules, error.errors(include_url=False)[0], values) from None


def _setting_error(settings_class: type[BaseModel], first: ErrorDetails, values: Mapping[str, str]) -> SettingError:
    name = str(first["loc"][0])
    secret = "SecretStr" in str(settings_class.model_fields[name].annotation)
    value = "(hidden)" if secret else hide_password(values.get(name, "(not set)"))
    expected = str(first["msg"]).removeprefix("Value error, ")
    if first["type"] == "missing":
        expected = f"it must be set: {settings_class.model_fields[name].description}"
    return SettingError(name.upper(), value[:200], expected)


def _read_secret(variable: str, path: Path | None) -> SecretStr | None:
    if path is None:
        return None
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(variable, str(path), f"expected a readable file that holds the secret ({error})") from None
    if not text:
        raise SettingError(variable, str(path), "expected a secret in it, the file is empty")
    return SecretStr(text)


def _host(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def url_credentials(url: str) -> tuple[str | None, str | None]:
    """(user, password) written into a URL, percent-decoded; None where there is none."""
    user, _, password = _split_authority(url)[0].rpartition("@")[0].partition(":")
    return unquote(user) or None, unquote(password) or None
