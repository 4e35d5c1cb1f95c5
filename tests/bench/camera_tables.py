"""The tables of the part *cameras* in `doc/camera_benchmarks.md`: CPU of each process, and cameras per core. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from tests.bench.record import Figure
from tests.support.document import markdown_table

PART = "cameras"
CPU = ": CPU for one frame"
RATES = (5, 10, 15)
MEASURED_FPS = 15
# Of the scenes, as the figures name them; a gated camera's cost is that of a second, whatever its rate.
_SCENES = (("full size", False), ("auto", False), ("quiet, gated", True))


def tables(figures: Sequence[Figure]) -> str:
    """Both, in Markdown; empty if the part was not measured."""
    whole = {each.name.removesuffix(CPU): each for each in figures if each.part == PART and "pod" in each.details}
    if not whole:
        return ""
    return f"{_parts(whole)}\n{_per_core(whole)}"


def _parts(whole: dict[str, Figure]) -> str:
    head = ("CPU ms for one frame", "source side", "Redis", "pod", "sum", "spread", "frames inferred")
    rows = [
        (
            *(name, *(f"{each.details[part]:.2f}" for part in ("source", "redis", "pod"))),
            *(f"{each.value:.2f}", f"{each.spread or 0:.2g}", f"{each.details['inferred']:.0%}"),
        )
        for name, each in whole.items()
    ]
    return markdown_table(head, rows)


def _per_core(whole: dict[str, Figure]) -> str:
    rows = []
    for size in ("1080p", "720p"):
        for scene, gated in _SCENES:
            if (found := whole.get(f"{size}, {scene}")) is not None:
                rows.append((f"{size}, {scene}", *(cameras_per_core(found.value, fps, gated=gated) for fps in RATES)))
    return markdown_table(("cameras per core", *(f"{fps} fps" for fps in RATES)), rows)


def cameras_per_core(ms: float, fps: float, *, gated: bool = False) -> str:
    """How many such cameras use one core, if one frame takes `ms` of CPU in the whole chain.

    For a gated camera, `ms` is the CPU of a second at MEASURED_FPS, divided by that rate: a lower rate costs no more.
    """
    found = 1000 / (ms * (MEASURED_FPS if gated else fps))
    return f"{found:.1f}" if found < 20 else f"{found:.0f}"
