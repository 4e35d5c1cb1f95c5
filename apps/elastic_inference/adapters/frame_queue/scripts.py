"""The queue's server-side scripts: their texts and hashes. Called by producer, consumer and monitor."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path

from redis.exceptions import NoScriptError


@dataclass(frozen=True, slots=True)
class Script:
    """One script; `sha` is what EVALSHA takes."""

    name: str
    text: str
    sha: str


@functools.cache
def script(name: str) -> Script:
    """`push`, `pop`, `order` or `janitor`, read from the file beside this module."""
    text = (Path(__file__).parent / f"{name}.lua").read_text()
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def all_scripts() -> tuple[Script, ...]:
    """Every script: whoever may load scripts loads all, so that the producers, who may not, find theirs."""
    return tuple(script(name) for name in ("push", "pop", "order", "janitor"))


def is_missing(reply: object) -> bool:
    """Whether a reply says that the server does not know the script (it restarted, or nobody loaded it yet)."""
    return isinstance(reply, NoScriptError)
