"""Answers the login challenges of HTTP cameras: Digest (RFC 7616) and Basic (RFC 7617). Pure.

Called by `http_client`. Digest is always preferred: Basic sends the password itself.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
from dataclasses import dataclass

_SCHEME = re.compile(r"(?:^|,)\s*([A-Za-z][A-Za-z0-9._-]*)(?=\s|$|,)(?!\s*=)")
# These patterns take linear time whatever a camera sends: a quotation that is never closed ends with the header, and a
# name starts only where no other one continues.
_QUOTED = r'"((?:[^"\\]|\\.)*+)(?:"|\\?\Z)'
_QUOTATION = re.compile(_QUOTED, re.DOTALL)
_PARAMETER = re.compile(rf'(?<![\w-])([A-Za-z][\w-]*)\s*=\s*(?:{_QUOTED}|([^\s,"]+))', re.DOTALL)
# The strongest first; MD5 is all that most cameras offer.
_HASHES = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}


@dataclass(frozen=True, slots=True)
class Challenge:
    """One challenge of a `WWW-Authenticate` header; `scheme` and the names of `fields` are in lower case."""

    scheme: str
    fields: dict[str, str]


def challenges(headers: list[str]) -> list[Challenge]:
    """All challenges of the headers. One header may hold several, separated by commas like their parameters."""
    found = []
    for header in headers:
        starts = list(_SCHEME.finditer(_blank_quotes(header)))
        for index, start in enumerate(starts):
            end = starts[index + 1].start() if index + 1 < len(starts) else len(header)
            fields = {
                name.lower(): quoted.replace('\\"', '"').replace("\\\\", "\\") if quoted else bare
                for name, quoted, bare in _PARAMETER.findall(header[start.end(1) : end])
            }
            found.append(Challenge(start.group(1).lower(), fields))
    return found


def _blank_quotes(header: str) -> str:
    """The header with quoted text blanked out, so that a comma or a word in it is not taken for a scheme."""
    return _QUOTATION.sub(lambda match: "_" * len(match.group()), header)


class HttpLogin:
    """A user's answers to one camera, with the count of uses that Digest asks for."""

    def __init__(self, user: str, password: str) -> None:
        self._user = user
        self._password = password
        self._digest: Challenge | None = None
        self._basic = False
        self._uses = 0

    def accept(self, headers: list[str]) -> str | None:
        """Takes the challenges of a 401; returns None if one can be answered, else what is missing."""
        found = challenges(headers)
        digests = [each for each in found if each.scheme == "digest"]
        usable = [each for each in digests if _algorithm(each) is not None and "nonce" in each.fields]
        if usable:
            ranks = list(_HASHES)
            self._digest = min(usable, key=lambda each: ranks.index(_algorithm(each) or "MD5"))
            self._uses = 0
            return None
        if digests:
            offered = ", ".join(sorted({each.fields.get("algorithm", "MD5") for each in digests}))
            return f"it asks for a Digest login with {offered[:60]}, expected MD5 or SHA-256"
        if any(each.scheme == "basic" for each in found):
            self._basic = True
            return None
        offered = ", ".join(sorted({each.scheme for each in found})) or "none"
        return f"it offers the logins {offered[:60]}, expected Digest or Basic"

    def stale(self, headers: list[str]) -> bool:
        """Whether a 401 only says that the nonce is too old: the password may still be right."""
        return any(each.fields.get("stale", "").lower() == "true" for each in challenges(headers))

    def header(self, method: str, target: str) -> str | None:
        """The `Authorization` header of a request, None before a challenge was accepted."""
        if self._digest is not None:
            self._uses += 1
            return _answer(self._digest, (self._user, self._password), f"{method}:{target}", target, self._uses)
        if self._basic:
            return "Basic " + base64.b64encode(f"{self._user}:{self._password}".encode()).decode()
        return None


def _algorithm(challenge: Challenge) -> str | None:
    name = challenge.fields.get("algorithm", "MD5").upper().removesuffix("-SESS")
    return name if name in _HASHES and _HASHES[name] in hashlib.algorithms_available else None


def _answer(challenge: Challenge, login: tuple[str, str], request: str, target: str, uses: int) -> str:
    fields = challenge.fields
    user, password = login
    algorithm = _algorithm(challenge) or "MD5"

    def digest(text: str) -> str:
        return hashlib.new(_HASHES[algorithm], text.encode(), usedforsecurity=False).hexdigest()

    realm, nonce, own = fields.get("realm", ""), fields["nonce"], os.urandom(8).hex()
    secret = digest(f"{user}:{realm}:{password}")
    session = fields.get("algorithm", "").upper().endswith("-SESS")
    if session:
        secret = digest(f"{secret}:{nonce}:{own}")
    qualities = [part.strip().lower() for part in fields.get("qop", "").split(",") if part.strip()]
    quality = "auth" if "auth" in qualities or not qualities else qualities[0]
    if quality == "auth-int":
        request += f":{digest('')}"  # the body of a GET is empty
    answer = {"username": _quoted(user), "realm": _quoted(realm), "nonce": _quoted(nonce), "uri": _quoted(target)}
    tail = ""
    if qualities:
        count = f"{uses:08x}"
        answer["response"] = digest(f"{secret}:{nonce}:{count}:{own}:{quality}:{digest(request)}")
        tail = f", qop={quality}, nc={count}"
    else:
        answer["response"] = digest(f"{secret}:{nonce}:{digest(request)}")
    if qualities or session:
        answer["cnonce"] = own
    if "opaque" in fields:
        answer["opaque"] = _quoted(fields["opaque"])
    listed = ", ".join(f'{key}="{value}"' for key, value in answer.items())
    if "algorithm" in fields:
        tail += f", algorithm={fields['algorithm']}"
    return f"Digest {listed}{tail}"


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')
