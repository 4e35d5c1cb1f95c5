"""Bar charts and lines as SVG, in light and dark mode. Written without a library, so that a fresh clone needs none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape

from tests.bench.record import MISSED, Figure

_ROW, _LEFT, _WIDTH, _RIGHT = 26, 390, 420, 110
_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#56b4e9", "#d55e00")
_STYLE = (
    "<style>text{font:13px system-ui,sans-serif;fill:#24292f}.grid{stroke:#8886;stroke-width:1}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}}</style>"
)


def bars(title: str, figures: Sequence[Figure]) -> str:
    """A bar per figure with its spread; a red mark shows the figure's bar. Orange figures miss it."""
    top = max((max(each.value, each.minimum or 0, each.maximum or 0) for each in figures), default=1.0) or 1.0
    scale = _WIDTH / top / 1.05
    height = 44 + _ROW * len(figures)
    parts = [_head(title, _LEFT + _WIDTH + _RIGHT, height)]
    for row, each in enumerate(figures):
        y = 36 + row * _ROW
        middle = y + 13
        colour = _COLOURS[1] if each.verdict == MISSED else _COLOURS[0]
        length = max(each.value, 0) * scale
        parts.append(f'<text x="{_LEFT - 10}" y="{middle}" text-anchor="end">{escape(each.name)}</text>')
        parts.append(f'<rect x="{_LEFT}" y="{y}" width="{length:.1f}" height="17" rx="2" fill="{colour}"/>')
        if each.spread:
            low, high = (_LEFT + (each.value + sign * each.spread / 2) * scale for sign in (-1, 1))
            parts.append(f'<path d="M{low:.1f} {y + 8}H{high:.1f}" stroke="#888" stroke-width="3"/>')
        bar = each.minimum if each.minimum is not None else each.maximum
        if bar is not None:
            x = _LEFT + bar * scale
            parts.append(f'<path d="M{x:.1f} {y - 3}v23" stroke="#d62728" stroke-width="2"/>')
        x = _LEFT + max(length, (bar or 0) * scale) + 8
        parts.append(f'<text x="{x:.1f}" y="{middle}">{each.value:.3g} {escape(each.unit)}</text>')
    return "".join((*parts, "</svg>\n"))


def lines(title: str, unit: str, series: Mapping[str, Sequence[tuple[float, float]]]) -> str:
    """Values over minutes, a line each."""
    width, height, left, bottom = 820, 260, 60, 210
    points = [point for each in series.values() for point in each]
    right = max((x for x, _ in points), default=1) or 1
    top = (max((y for _, y in points), default=1) or 1) * 1.1
    parts = [_head(title, width, height)]
    for share in (0, 0.5, 1):
        y = bottom - share * 160
        parts.append(f'<path class="grid" d="M{left} {y}H{width - 20}"/>')
        parts.append(f'<text x="{left - 6}" y="{y + 4}" text-anchor="end">{top * share:.3g}</text>')
    parts.append(f'<text x="{left}" y="{bottom + 20}">0</text>')
    parts.append(f'<text x="{width - 20}" y="{bottom + 20}" text-anchor="end">{right:.1f} min ({escape(unit)})</text>')
    for number, (name, each) in enumerate(series.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{left + x / right * (width - 80):.1f},{bottom - y / top * 160:.1f}" for x, y in each)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = left + number * 125
        parts.append(f'<rect x="{x}" y="{bottom + 32}" width="12" height="12" fill="{colour}"/>')
        parts.append(f'<text x="{x + 17}" y="{bottom + 43}">{escape(name)}</text>')
    return "".join((*parts, "</svg>\n"))


def _head(title: str, width: int, height: int) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'role="img" aria-label="{escape(title)}">{_STYLE}<text x="10" y="20" font-weight="600">{escape(title)}</text>'
    )
