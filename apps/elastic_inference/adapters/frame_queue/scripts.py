"""The queue's server-side scripts: their texts and hashes, and how to load and run them."""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from redis.exceptions import NoScriptError, ResponseError

from elastic_inference.adapters.redis_pipeline import PipelineConnection


@dataclass(frozen=True, slots=True)
class Script:
    """One script; `sha` is what EVALSHA takes."""

    name: str
    text: str
    sha: str


@functools.cache
def script(name: str) -> Script:
    """`push`, `pop`, `legacy`, `order`, `janitor`, `sources`, `unserved`, `sweep`, `weigh` or `crowd`: a file beside
    this module.

    `fenced_push` is `push` behind a check of the lease: one script, so that nothing comes between the two.
    """
    if name == "fenced_push":
        text = _behind("fence", "push")
    elif name in ("pop", "order"):
        text = _behind("number", name)
    else:
        text = _read(name)
    return Script(name, text, hashlib.sha1(text.encode(), usedforsecurity=False).hexdigest())


def _behind(start: str, name: str) -> str:
    """The script `name`, whose first line is its flags, with the text `start` before the rest."""
    flags, _, rest = _read(name).partition("\n")
    return f"{flags}\n{_read(start)}{rest}"


def _read(name: str) -> str:
    return (Path(__file__).parent / f"{name}.lua").read_text()


def all_scripts() -> tuple[Script, ...]:
    """Every script but `sweep`, `weigh`, `crowd`, `unserved` and `fenced_push`, which their only users load.

    Each service that may load scripts loads all of these, as producers need one but may load none.
    """
    return tuple(script(name) for name in ("push", "pop", "legacy", "order", "janitor", "sources"))


def is_missing(reply: object) -> bool:
    """Whether a reply says that the server does not know the script: it restarted, or nobody has loaded it yet."""
    return isinstance(reply, NoScriptError)


def load_all(link: PipelineConnection) -> None:
    """Loads every script of the queue. Raises REDIS_ERRORS or ResponseError."""
    for reply in link.exchange([("SCRIPT", "LOAD", each.text) for each in all_scripts()]):
        if isinstance(reply, ResponseError):
            raise reply


def run_script(link: PipelineConnection, command: tuple[Any, ...]) -> Any:
    """The reply to an EVALSHA, whose script is loaded if it is missing. Raises REDIS_ERRORS or ResponseError."""
    (reply,) = link.exchange([command])
    if is_missing(reply):
        load_all(link)
        (reply,) = link.exchange([command])
    if isinstance(reply, ResponseError):
        raise reply
    return reply
