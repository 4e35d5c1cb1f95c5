"""The progress of a download, on a terminal and in a log."""

from __future__ import annotations

import io

from elastic_inference.adapters.catalogue.progress import Console


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def draw(out: io.StringIO) -> str:
    console = Console(out)
    console.start("a/b.bin", 2_000_000)
    console.advance(1_000_000)
    console.note("again in 1 s")
    console.advance(2_000_000)
    console.finish("fetched")
    return out.getvalue()


def test_a_terminal_gets_a_bar() -> None:
    text = draw(Terminal())
    assert "100%  2.0 of 2.0 MB  a/b.bin" in text
    assert "############################" in text
    assert text.endswith("a/b.bin: fetched (2.0 MB)\x1b[K\n")


def test_a_log_gets_plain_lines() -> None:
    assert draw(io.StringIO()) == "again in 1 s\na/b.bin: fetched (2.0 MB)\n"
