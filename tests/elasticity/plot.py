"""A run as SVG: frames per second, ratio and pods over time, in light and dark mode. Needs no library."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

from tests.elasticity.record import Run

_WIDTH, _LEFT, _RIGHT, _HEIGHT, _GAP, _TOP = 860, 56, 16, 120, 34, 34
_BLUE, _ORANGE, _GREEN, _RED = "#0072b2", "#e69f00", "#009e73", "#d55e00"
Line = tuple[str, str, Sequence[float | None], bool]


def plot(run: Run) -> str:
    """Three panels: demand, capacity and drops; the ratio; replicas and Ready pods."""
    times = [each.at_s for each in run.samples]
    panels: list[tuple[str, list[Line]]] = [
        (
            "frames per second",
            [
                ("demand", _BLUE, [each.demand_fps for each in run.samples], False),
                ("capacity", _GREEN, [each.capacity_fps for each in run.samples], True),
                ("dropped", _RED, [each.drop_fps for each in run.samples], False),
            ],
        ),
        (
            "ratio",
            [
                ("Prometheus", _ORANGE, [each.ratio for each in run.samples], False),
                ("autoscaler", _BLUE, [each.seen for each in run.samples], True),
            ],
        ),
        (
            "pods",
            [
                ("wanted", _BLUE, [each.replicas if each.replicas >= 0 else None for each in run.samples], True),
                ("ready", _GREEN, [each.ready if each.ready >= 0 else None for each in run.samples], True),
            ],
        ),
    ]
    height = _TOP + len(panels) * (_HEIGHT + _GAP) + 10
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" role="img">'
        f"<title>{escape(run.name)}</title><style>text{{font:12px system-ui,sans-serif;fill:#24292f}}"
        ".g{stroke:#8886}@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>"
        f'<text x="{_LEFT}" y="18" style="font-weight:600">{escape(run.name)} ({escape(run.autoscaler)})</text>'
    ]
    last = max(times, default=1.0) or 1.0
    for number, (unit, lines) in enumerate(panels):
        parts += _panel(unit, lines, times, last, _TOP + number * (_HEIGHT + _GAP), run.changed_at_s)
    return "".join((*parts, "</svg>\n"))


def _panel(  # noqa: PLR0917  all of it is required
    unit: str, lines: list[Line], times: list[float], last: float, top: float, changed_s: float
) -> list[str]:
    bottom = top + _HEIGHT
    top = max((value for _, _, values, _ in lines for value in values if value is not None), default=1.0)
    top = max(top * 1.08, 1.0)

    def x(at_s: float) -> float:
        return _LEFT + at_s / last * (_WIDTH - _LEFT - _RIGHT)

    parts = []
    for share in (0.0, 0.5, 1.0):
        y = bottom - share * _HEIGHT
        parts.append(f'<path class="g" d="M{_LEFT} {y:.1f}H{_WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{top * share:.3g}</text>')
    parts.append(f'<path d="M{x(changed_s):.1f} {top}V{bottom}" stroke="#888" stroke-dasharray="3 3"/>')
    parts.append(f'<text x="{_LEFT}" y="{bottom + 16}">0 s</text>')
    parts.append(f'<text x="{_WIDTH - _RIGHT}" y="{bottom + 16}" text-anchor="end">{last:.0f} s</text>')
    parts.append(f'<text x="{_LEFT + 60}" y="{bottom + 16}">{escape(unit)}:</text>')
    for number, (name, colour, values, steps) in enumerate(lines):
        path, before = "", None
        for at_s, value in zip(times, values, strict=True):
            if value is None:
                before = None
                continue
            y = bottom - value / top * _HEIGHT
            if before is None:
                path += f"M{x(at_s):.1f} {y:.1f}"
            elif steps:
                path += f"H{x(at_s):.1f}V{y:.1f}"
            else:
                path += f"L{x(at_s):.1f} {y:.1f}"
            before = value
        parts.append(f'<path d="{path}" fill="none" stroke="{colour}" stroke-width="1.6"/>')
        at = _LEFT + 180 + number * 120
        parts.append(f'<path d="M{at} {bottom + 12}h18" stroke="{colour}" stroke-width="3"/>')
        parts.append(f'<text x="{at + 23}" y="{bottom + 16}">{escape(name)}</text>')
    return parts
