"""The tokens of an installation: `GATEWAY_TOKEN`, and those in the file of `GATEWAY_TOKENS_FILE`.

`tokens_document` reads that file. No error and no `repr` here contains a token.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from elastic_inference.domain.errors import ElasticInferenceError
from elastic_inference.domain.role import Role
from elastic_inference.flows.gateway.access import ALL_CAMERAS

# The name that is shown for `GATEWAY_TOKEN`.
ADMIN = "admin"


class TokensFileError(ElasticInferenceError):
    """The file of tokens can't be read, or its content is not accepted. The message is one line."""


@dataclass(frozen=True, slots=True)
class Token:
    """One token and what it allows."""

    name: str
    role: Role
    cameras: tuple[str, ...]
    text: str = field(repr=False)


def admin_token(text: str) -> Token:
    """`GATEWAY_TOKEN`: it may do everything."""
    return Token(ADMIN, Role.ADMIN, ALL_CAMERAS, text)
