"""Settings of the websocket server and the gateway."""

from dataclasses import dataclass
from typing import Annotated

from elastic_inference.base.settings.common import CommonSettings
from elastic_inference.base.settings.fields import (
    AccessToken,
    CommaSeparated,
    Host,
    HostNames,
    Networks,
    PathPrefix,
    PortOrFree,
    ReadablePath,
    SecretFile,
    read_secret,
)
from elastic_inference.base.settings.secret import Secret
from elastic_inference.base.settings.setting import setting
from elastic_inference.base.url import check_url
from elastic_inference.domain.access_token import check_access_token
from elastic_inference.domain.errors import SettingError

WEBSOCKET_PORT = 31611
MAX_VIEWERS_TEXT = "maximum number of open websockets"
MAX_CONNECTIONS_TEXT = "maximum number of open connections; additional ones wait (default: 2 × (MAX_VIEWERS + 1000))"
ALLOWED_ORIGINS_TEXT = "additional origins of browsers, comma-separated"
ALLOWED_HOSTS_TEXT = (
    "additional names by which browsers may reach a server without a login, comma-separated; IP addresses, localhost "
    "and the machine's own name are always allowed, * allows every name"
)
TRUSTED_PROXIES_TEXT = (
    "addresses and networks of proxies whose X-Forwarded and Forwarded headers count, comma-separated"
)


def _check_websocket_url(value: str) -> str:
    if not value.lower().startswith("ws://"):
        raise ValueError("expected ws://host:port")
    check_url(value, "expected ws://host:port")
    return value


@dataclass(frozen=True, kw_only=True)
class ConnectionSettings(CommonSettings):
    """Limits on the connections to the websocket server or the gateway."""

    max_viewers: int = setting(1000, ge=1, le=100_000, description=MAX_VIEWERS_TEXT)
    max_connections: int | None = setting(None, ge=16, le=1_000_000, description=MAX_CONNECTIONS_TEXT)

    @property
    def connections(self) -> int:
        """MAX_CONNECTIONS, by default twice what viewers need: one address, which all may share, gets half."""
        return self.max_connections or 2 * (self.max_viewers + 1000)


@dataclass(frozen=True, kw_only=True)
class WebsocketSettings(ConnectionSettings):
    """Settings of the websocket server."""

    service = "websocket server"
    command = "ei-websocket-server"
    websocket_host: Host = setting(
        "0.0.0.0",  # noqa: S104
        description="address that the websocket server listens on; it has no login",
    )
    websocket_port: PortOrFree = setting(
        WEBSOCKET_PORT, description="port that the websocket server listens on; 0 takes a free one"
    )
    reorder_ms: float = setting(100.0, ge=0, le=10_000, description="how long a result waits for a missing predecessor")
    allowed_origins: CommaSeparated = setting((), description=ALLOWED_ORIGINS_TEXT)
    allowed_hosts: HostNames = setting((), description=ALLOWED_HOSTS_TEXT)
    trusted_proxies: Networks = setting((), description=TRUSTED_PROXIES_TEXT)


@dataclass(frozen=True, kw_only=True)
class GatewaySettings(ConnectionSettings):
    """Settings of the gateway."""

    service = "gateway"
    command = "ei-gateway-server"
    gateway_host: Host = setting("0.0.0.0", description="address that the gateway listens on")  # noqa: S104
    gateway_port: PortOrFree = setting(5000, description="port that the gateway listens on; 0 takes a free one")
    websocket_server_url: Annotated[str, _check_websocket_url] = setting(
        f"ws://127.0.0.1:{WEBSOCKET_PORT}", description="address of the websocket server"
    )
    max_connections_per_address: int | None = setting(
        None,
        ge=1,
        le=1_000_000,
        description="maximum number of open connections from one address; additional ones are refused "
        "(default: half of MAX_CONNECTIONS)",
    )
    gateway_token: AccessToken | None = setting(None, description="token that the dashboard and the REST API ask for")
    gateway_token_file: SecretFile = setting(None, description="a file that holds it")
    gateway_tokens_file: ReadablePath = setting(
        None,
        description="a file (JSON) with additional tokens, their roles and cameras; it is read again when it changes",
    )
    gateway_tls_cert: ReadablePath = setting(None, description="certificate chain (PEM): serve HTTPS")
    gateway_tls_key: ReadablePath = setting(None, description="its key (PEM)")
    allowed_origins: CommaSeparated = setting((), description=ALLOWED_ORIGINS_TEXT)
    allowed_hosts: HostNames = setting((), description=ALLOWED_HOSTS_TEXT)
    trusted_proxies: Networks = setting((), description=TRUSTED_PROXIES_TEXT)
    base_path: PathPrefix = setting(
        "", description="path below which a proxy serves the gateway, such as /ei; paths without it are served too"
    )
    dashboard_dir: ReadablePath = setting(None, description="folder of the built dashboard (default: the packaged one)")

    @property
    def token(self) -> Secret | None:
        """The token that may do everything, or None. Raises SettingError for a token that no client can send."""
        if self.gateway_token is not None:
            return self.gateway_token
        secret = read_secret("GATEWAY_TOKEN_FILE", self.gateway_token_file)
        try:
            check_access_token(secret.get_secret_value() if secret else "-")
        except ValueError as error:
            raise SettingError("GATEWAY_TOKEN_FILE", str(self.gateway_token_file), str(error)) from None
        return secret
