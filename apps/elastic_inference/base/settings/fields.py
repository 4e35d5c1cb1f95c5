"""Types and checks that several settings share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, SecretStr

from elastic_inference.base.allowed_hosts import check_host_names
from elastic_inference.base.forwarded import check_prefix, parse_networks
from elastic_inference.base.url import check_url
from elastic_inference.domain import keys
from elastic_inference.domain.errors import SettingError

Port = Annotated[int, Field(ge=1, le=65535)]
PortOrFree = Annotated[int, Field(ge=0, le=65535)]
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


def _split(value: object) -> object:
    return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value


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


CommaSeparated = Annotated[tuple[str, ...], BeforeValidator(_split)]
Networks = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(_check_networks)]
HostNames = Annotated[tuple[str, ...], BeforeValidator(_split), AfterValidator(check_host_names)]
PublicUrl = Annotated[str, AfterValidator(_check_public_url)]
PathPrefix = Annotated[str, AfterValidator(check_prefix)]


def check_name(name: str) -> str:
    """`name` if it can be the name of a stream or a type. Otherwise raises ValueError."""
    if not keys.is_name(name):
        raise ValueError(keys.NAME_RULE)
    return name


def read_secret(variable: str, path: Path | None) -> SecretStr | None:
    """The secret in a file, None without one. Raises SettingError for a file that is empty or can't be read."""
    if path is None:
        return None
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingError(variable, str(path), f"expected a readable file that holds the secret ({error})") from None
    if not text:
        raise SettingError(variable, str(path), "expected a secret in the file, but it is empty")
    return SecretStr(text)
