"""Follows SINKS_FILE. While the file is broken, its last good state stays. For the event service's thread only."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from elastic_inference.base.named_list import ListForm, read_named
from elastic_inference.base.yaml_text import YamlLimits, YamlTextError
from elastic_inference.domain import keys
from elastic_inference.domain.sink_spec import MAX_SINKS, SinkError, SinkSpec, read_sink

log = logging.getLogger(__name__)
MAX_FILE_BYTES = 256 * 1024
_FORM = ListForm("sinks", MAX_SINKS, MAX_FILE_BYTES, YamlLimits(depth=10, nodes=20_000))


class SinksFile:
    """`specs` is the last good state; `problem` says what is wrong with the file, empty if nothing is."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._content: bytes | None = None
        self._waits = False
        self.specs: dict[str, SinkSpec] = {}
        self.problem = ""

    def refresh(self) -> None:
        """Reads the file if it has changed."""
        if self._path is None:
            return
        try:
            with self._path.open("rb") as file:
                content = file.read(MAX_FILE_BYTES + 1)
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self._content is None and self._path.parent.is_dir():
                self._wait_for_it()
                return
            self.problem = f"SINKS_FILE {self._path} can't be read ({error.strerror}); its sinks stay"
            return
        if content == self._content:
            return
        try:
            self.specs = parse(content)
        except SinkError as error:
            self.problem = f"SINKS_FILE {self._path}: {error}; its last good state stays"
            return
        self._content, self.problem = content, ""

    def _wait_for_it(self) -> None:
        """A file that was never there means no sinks: in a cluster it is in a Secret that may come later."""
        self.problem = ""
        if not self._waits:
            self._waits = True
            log.info("There is no SINKS_FILE %s, and so no sinks of it; it is read as soon as it is there.", self._path)


def parse(content: bytes) -> dict[str, SinkSpec]:
    """The sinks by name. Raises SinkError that names the sink and the field."""
    try:
        return read_named(content, _FORM, _sink)
    except YamlTextError as error:
        raise SinkError(str(error)) from None


def _sink(number: int, entry: Any, _: Any) -> SinkSpec:
    name = entry.get("name") if isinstance(entry, dict) else None
    shown = name if isinstance(name, str) and keys.is_name(name) else f"number {number}"
    try:
        return read_sink(entry)
    except SinkError as error:
        raise SinkError(f"sink {shown}, {error}") from None
