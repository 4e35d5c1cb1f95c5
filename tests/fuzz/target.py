"""What a fuzzer calls: a target takes bytes and raises nothing but the errors that its function documents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hypothesis import strategies as st

MAX_INPUT_BYTES = 4096
Seeds = Callable[[], Sequence[bytes]]


@dataclass(frozen=True)
class Target:
    """One function, or a few that read the same input.

    `call` fails for an input whose outcome is wrong. `documented` are the errors that callers expect. `seeds` makes
    good inputs, from which both fuzzers start, and `inputs` makes others that random bytes would almost never match.
    """

    name: str
    call: Callable[[bytes], object]
    documented: tuple[type[Exception], ...] = ()
    seeds: Seeds = field(default=lambda: ())
    inputs: Callable[[], st.SearchStrategy[bytes]] | None = None

    def run(self, data: bytes) -> None:
        """Calls it with one input. Whatever it raises is a finding."""
        try:
            self.call(data)
        except self.documented as error:
            assert len(str(error)) < 600, f"too long for a log line: {len(str(error))} characters"

    def strategy(self) -> st.SearchStrategy[bytes]:
        """Inputs for Hypothesis: random bytes, changed seeds, and those that the target itself makes."""
        kinds = [st.binary(max_size=300)]
        if seeds := list(self.seeds()):
            kinds += [_changed(seeds), _changed(seeds)]
        if self.inputs is not None:
            kinds += [self.inputs(), self.inputs()]
        return st.one_of(kinds)


@st.composite
def _changed(draw: st.DrawFn, seeds: Sequence[bytes]) -> bytes:
    """A seed with a few bytes replaced, removed or repeated."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(data)))
        length = draw(st.integers(0, 8))
        change = draw(st.sampled_from(("replace", "remove", "repeat", "cut")))
        if change == "replace":
            data[at : at + length] = draw(st.binary(max_size=8))
        elif change == "remove":
            del data[at : at + length]
        elif change == "repeat":
            data[at:at] = data[at : at + length] * draw(st.integers(1, 20))
        else:
            del data[at:]
    return bytes(data[:MAX_INPUT_BYTES])


class Reader:
    """Splits an input into bytes for several arguments. At the end of the input it returns zeros or empty bytes."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        """The next byte."""
        self._at += 1
        return self._data[self._at - 1] if self._at <= len(self._data) else 0

    def rest(self) -> bytes:
        """All that is left."""
        rest, self._at = self._data[self._at :], len(self._data)
        return rest
