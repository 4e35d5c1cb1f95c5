"""Follows the file of `GATEWAY_TOKENS_FILE`: a change takes effect within seconds. Run by `server`.

The whole file is read every second: it is small, and neither its time nor its inode shows every change (a Secret's
mount swaps a link, an editor may keep both).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from pathlib import Path

from elastic_inference.flows.gateway.tokens import Token, TokensFileError
from elastic_inference.flows.gateway.tokens_document import parse_tokens, read_file

log = logging.getLogger(__name__)

EVERY_S = 1.0


class TokensFile:
    """The followed file; one per gateway. While it is broken, the last tokens stay valid."""

    def __init__(
        self,
        path: Path,
        others: Sequence[Token],
        on_change: Callable[[tuple[Token, ...]], None],
        report: Callable[[str | None], None],
    ) -> None:
        """Reads the file and raises TokensFileError if it is broken; `others` are accepted beside its tokens.

        `on_change` gets all tokens after a change. `report` is called after each reading with what is wrong, or None.
        """
        self._path = path
        self._others = tuple(others)
        self._on_change = on_change
        self._report = report
        self._content = read_file(path)
        self._names: set[str] = set()
        self.tokens = self._read_tokens(self._content)

    async def run(self) -> None:
        """Reads once a second until cancelled."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self._follow()
            except TokensFileError as error:
                self._report(f"{self._path}: {error}; its last tokens stay valid")
            else:
                self._report(None)

    async def _follow(self) -> None:
        # In a thread, since the file's disk or network may be slow.
        content = await asyncio.to_thread(read_file, self._path)
        if content == self._content:
            return
        before = self._names
        self.tokens = self._read_tokens(content)
        self._content = content
        log.info(
            "the tokens have changed: %d, new %s, removed %s",
            len(self.tokens),
            ", ".join(sorted(self._names - before)) or "none",
            ", ".join(sorted(before - self._names)) or "none",
        )
        self._on_change(self.tokens)

    def _read_tokens(self, content: bytes) -> tuple[Token, ...]:
        found = parse_tokens(content, self._others)
        self._names = {each.name for each in found}
        return (*self._others, *found)
