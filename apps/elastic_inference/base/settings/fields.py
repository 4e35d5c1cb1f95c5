"""Types and checks that several settings share."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from elastic_inference.base.allowed_hosts import check_host_names
from elastic_inference.base.forwarded import check_prefix, parse_networks
from elastic_inference.base.redis_url import check_scheme
from elastic_inference.base.settings.secret import Secret
from elastic_inference.base.settings.setting import Bounds
from elastic_inference.base.url import check_host, check_url
from elastic_inference.domain import keys
from elastic_inference.domain.access_token import check_access_token
from elastic_inference.domain.errors import SettingError

Port = Annotated[int, Bounds(ge=1, le=65535)]
PortOrFree = Annotated[int, Bounds(ge=0, le=65535)]
# Not case-sensitive.
Flag = Annotated[bool, str.lower]
INFER_TYPE_TEXT = "inference types that get each frame, comma-separated (inference: exactly one)"


@dataclass(frozen=True)
class HostPath:
    """How `tools/run-*.sh -y` passes a file or folder of the host to a container.

    `secret`: the content is passed in the environment, since the container's user may not read the file. `read` and
    `write`: it is mounted, at `folder` or else at its own path. `model`: as `read`, with the files beside it.
    `beside`: as `write`, for the folder of a file that the service replaces.
    """

    use: Literal["secret", "read", "write", "model", "beside"]
    folder: str = ""


SecretFile = Annotated[Path | None, HostPath("secret")]
ReadablePath = Annotated[Path | None, HostPath("read")]
ReplacedFile = Annotated[Path | None, HostPath("beside")]


def _check_networks(texts: tuple[str, ...]) -> tuple[str, ...]:
    try:
        parse_networks(texts)
    except ValueError as error:
        raise ValueError(f"expected addresses and networks such as 10.0.0.0/8, comma-separated ({error})") from None
    return texts


def _check_public_url(url: str) -> str:
    expected = "expected http:// or https:// with a host name, such as https://cameras.example.org"
    if url:
        check_url(url, expected)
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.username or parts.query or parts.fragment:
            raise ValueError(f"{expected}, without a login, a query or a fragment")
    return url.rstrip("/")


CommaSeparated = tuple[str, ...]
Networks = Annotated[tuple[str, ...], _check_networks]
HostNames = Annotated[tuple[str, ...], check_host_names]
Host = Annotated[str, check_host]
PublicUrl = Annotated[str, _check_public_url]
PathPrefix = Annotated[str, check_prefix]
SecretUrl = Annotated[Secret, check_scheme]
AccessToken = Annotated[Secret, check_access_token]


def check_name(name: str) -> str:
    """`name` if it can be the name of a stream or a type. Otherwise raises ValueError."""
    if not keys.is_name(name):
        raise ValueError(keys.NAME_RULE)
    return name


def read_secret(variable: str, path: Path | None) -> Secret | None:
    """The secret in a file, None without one. Raises SettingError for a file that is empty or can't be read."""
    if path is None:
        return None
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(variable, str(path), f"expected a readable file that holds the secret ({error})") from None
    if not text:
        raise SettingError(variable, str(path), "expected a secret in the file, but it is empty")
    return Secret(text)
