"""Sentences of the documents about security, such as `- **camera can** push frames.`, each of which a test tries.

A module of tests makes a `Tries` for its logins, gives each sentence a function, and checks that the two lists are the
same: a sentence without a try fails, and so does a try whose sentence has changed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

_DOCUMENTS = sorted((Path(__file__).parents[2] / "doc").glob("security*.md"))
_SENTENCE = re.compile(r"^- \*\*([\w -]+?) (can|cannot)\*\* (.+?)(?=\n(?:- |\n|#)|\Z)", re.MULTILINE | re.DOTALL)
Try = Callable[..., Any]


def sentences(logins: Collection[str]) -> list[str]:
    """The documents' sentences about these logins, each in one line without its marks, such as `camera can …`."""
    found = _found()
    return [f"{login} {verb} {' '.join(rest.split())}" for login, verb, rest in found if login in logins]


def all_logins() -> set[str]:
    """The logins that the documents have sentences about."""
    return {login for login, _, _ in _found()}


def _found() -> list[tuple[str, str, str]]:
    """Login, verb and the rest of each sentence."""
    return [each for document in _DOCUMENTS for each in _SENTENCE.findall(document.read_text())]


class Tries:
    """The functions that try the sentences about some logins."""

    def __init__(self, *logins: str) -> None:
        self.logins = logins
        self.functions: dict[str, Try] = {}

    def __call__(self, sentence: str) -> Callable[[Try], Try]:
        """Decorates the function that tries this sentence."""

        def note(function: Try) -> Try:
            assert sentence not in self.functions, f"two tries for one sentence: {sentence}"
            self.functions[sentence] = function
            return function

        return note

    async def run(self, sentence: str, logins: object) -> None:
        """Calls the function that tries this sentence, which may be asynchronous."""
        if (outcome := self.functions[sentence](logins)) is not None:
            await outcome

    def check(self) -> None:
        """Fails unless each sentence has a function that tries it, and each function a sentence."""
        written = sentences(self.logins)
        assert len(written) == len(set(written)), "a sentence is there twice"
        assert {*written} - {*self.functions} == set(), "no test tries these sentences of the documents"
        assert {*self.functions} - {*written} == set(), (
            "the documents about security lack these sentences, which a test tries"
        )
        assert {login for login in self.logins if not any(each.startswith(f"{login} ") for each in written)} == set()
