"""Settings that every service reads, and the limits of the frame queue."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from elastic_inference.base.redis_url import REDIS_PORT
from elastic_inference.base.settings.fields import (
    Host,
    Port,
    PortOrFree,
    ReadablePath,
    SecretFile,
    SecretUrl,
    read_secret,
)
from elastic_inference.base.settings.secret import Secret
from elastic_inference.base.settings.setting import setting
from elastic_inference.base.url import hide_password, in_brackets, url_credentials
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_BYTES, DEFAULT_MAX_FRAME_PIXELS


@dataclass(frozen=True, repr=False)
class RedisTarget:
    """Where a Redis is and how to log in. `str()` and `repr()` show no secret."""

    url: Secret
    username: str | None = None
    password: Secret | None = None
    ca_file: str | None = None

    def __str__(self) -> str:
        return hide_password(self.url.get_secret_value())

    def __repr__(self) -> str:
        return f"RedisTarget({self})"


@dataclass(frozen=True, kw_only=True)
class CommonSettings:
    """Settings that every service reads."""

    service: ClassVar[str] = "all"
    # The console command, and the name of the image.
    command: ClassVar[str] = ""

    queue_url: SecretUrl | None = setting(
        None,
        description="the frame queue's Redis: redis://host:port/db, rediss://, unix://, "
        "redis+sentinel://h:p,h:p/<name>/<db> or redis+cluster://h:p,…",
    )
    queue_host: Host = setting("127.0.0.1", description="host of the frame queue if QUEUE_URL is not set")
    queue_port: Port = setting(REDIS_PORT, description="port of the frame queue if QUEUE_URL is not set")
    queue_username: str | None = setting(None, description="user of the frame queue")
    queue_password: Secret | None = setting(None, description="its password")
    queue_password_file: SecretFile = setting(None, description="a file that holds its password")
    queue_ca_file: ReadablePath = setting(None, description="certificate authorities (PEM) for rediss://")
    broker_url: SecretUrl | None = setting(None, description="the stream broker's Redis (default: the queue's)")
    broker_host: Host | None = setting(None, description="host of the broker if BROKER_URL is not set")
    broker_port: Port | None = setting(None, description=f"port of the broker ({REDIS_PORT})")
    broker_username: str | None = setting(
        None, description="user of the broker (default: the queue's, unless BROKER_URL holds a login)"
    )
    broker_password: Secret | None = setting(
        None, description="its password (default: the queue's, unless BROKER_URL holds a login)"
    )
    broker_password_file: SecretFile = setting(None, description="a file that holds its password")
    broker_ca_file: ReadablePath = setting(None, description="certificate authorities (PEM) for rediss://")
    metrics_port: PortOrFree = setting(
        0, description="port of /metrics, /healthz and /readyz; 0 takes a free one and logs it (8000 in the images)"
    )
    metrics_host: Host | None = setting(None, description="address that this port listens on (default: all)")
    metrics_window_s: float = setting(5.0, ge=1, le=300, description="window of the rates, seconds")
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR"], str.upper] = setting(
        "INFO", description="minimum log level"
    )
    log_format: Literal["text", "json"] = setting("text", description="format of the log lines")

    @property
    def queue(self) -> RedisTarget:
        """The frame queue's Redis."""
        url = self.queue_url or Secret(f"redis://{in_brackets(self.queue_host)}:{self.queue_port}/0")
        password = self.queue_password or read_secret("QUEUE_PASSWORD_FILE", self.queue_password_file)
        ca_file = str(self.queue_ca_file) if self.queue_ca_file else None
        return RedisTarget(url=url, username=self.queue_username, password=password, ca_file=ca_file)

    @property
    def broker(self) -> RedisTarget:
        """The stream broker's Redis; settings that are missing are taken from the queue's.

        If BROKER_URL has its own login, the queue's is not used: that password is for another server.
        """
        queue = self.queue
        if self.broker_url:
            url = self.broker_url
        elif self.broker_host or self.broker_port:
            host, port = in_brackets(self.broker_host or self.queue_host), self.broker_port or REDIS_PORT
            url = Secret(f"redis://{host}:{port}/0")
        else:
            url = queue.url
        own = self.broker_password or read_secret("BROKER_PASSWORD_FILE", self.broker_password_file)
        inherits = url == queue.url or url_credentials(url.get_secret_value()) == (None, None)
        return RedisTarget(
            url=url,
            username=self.broker_username or (queue.username if inherits else None),
            password=own or (queue.password if inherits else None),
            ca_file=str(self.broker_ca_file) if self.broker_ca_file else queue.ca_file,
        )


# The limit for all waiting legacy frames of one type: 256 frames of 250 kB.
_LEGACY_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class QueueRules:
    """Bounds of the frame queue, the same everywhere in one installation."""

    stream_queue_depth: int = setting(4, ge=1, le=1024, description="maximum number of waiting frames per stream")
    queue_depth: int = setting(256, ge=1, le=65536, description="maximum number of waiting frames of legacy producers")
    token_limit: int = setting(4096, ge=1, le=1_000_000, description="maximum number of waiting frames per type")
    max_frame_age_s: float = setting(2.0, ge=0.1, le=3600, description="maximum age of a waiting frame, seconds")
    max_frame_bytes: int = setting(
        DEFAULT_MAX_FRAME_BYTES, ge=1024, le=512 * 1024 * 1024, description="largest frame message"
    )
    max_frame_pixels: int = setting(
        DEFAULT_MAX_FRAME_PIXELS,
        ge=1024,
        le=1_000_000_000,
        description="largest image, pixels; above 33 million it is inferred, but not drawn",
    )

    @property
    def legacy_bytes(self) -> int:
        """Maximum total size of one type's waiting legacy frames, in bytes; four of the largest always fit."""
        return max(_LEGACY_BYTES, 4 * self.max_frame_bytes)
