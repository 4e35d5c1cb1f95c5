"""Assigns detections to tracks, with the highest sum of scores. Pure; used by the tracker.

Most frames are easy: each track has one candidate. The rest are small groups of objects that touch. A group
is solved exactly, by the Hungarian method (Kuhn, Munkres) with potentials; a crowd larger than `_MAX_EXACT` is solved
greedily, best pair first, so that no frame takes long.
"""

from __future__ import annotations

from collections.abc import Iterable

Pair = tuple[float, int, int]  # score, row, column
_MAX_EXACT = 24
_NONE = 1e9


def assign(pairs: Iterable[Pair], exact: bool = False) -> list[tuple[int, int]]:
    """(row, column) pairs, each row and column at most once, with the highest sum of scores. Scores are positive.

    With `exact`, crowds are solved exactly too, however long it takes.
    """
    found = list(pairs)
    rows: dict[int, list[Pair]] = {}
    columns: dict[int, list[Pair]] = {}
    for pair in found:
        rows.setdefault(pair[1], []).append(pair)
        columns.setdefault(pair[2], []).append(pair)
    if len(rows) == len(found) == len(columns):
        return [(row, column) for _, row, column in found]
    chosen: list[tuple[int, int]] = []
    seen: set[int] = set()
    for row in rows:
        if row not in seen:
            group = _group(row, rows, columns)
            seen.update(pair[1] for pair in group)
            chosen += _solve(group, exact)
    return chosen


def _group(first: int, rows: dict[int, list[Pair]], columns: dict[int, list[Pair]]) -> list[Pair]:
    """All pairs connected to a row, directly or through other pairs."""
    group: list[Pair] = []
    seen_rows, seen_columns, waiting = {first}, set[int](), [first]
    while waiting:
        for pair in rows[waiting.pop()]:
            group.append(pair)
            if pair[2] not in seen_columns:
                seen_columns.add(pair[2])
                fresh = {each[1] for each in columns[pair[2]]} - seen_rows
                seen_rows |= fresh
                waiting += sorted(fresh)
    return group


def _solve(group: list[Pair], exact: bool) -> list[tuple[int, int]]:
    if len(group) == 1:
        return [(group[0][1], group[0][2])]
    rows = sorted({pair[1] for pair in group})
    columns = sorted({pair[2] for pair in group})
    if max(len(rows), len(columns)) > _MAX_EXACT and not exact:
        return _greedy(group)
    scores = {(row, column): score for score, row, column in group}
    # A column of its own for each row stands for "no detection", at a score of 0.
    costs = [[-scores.get((row, column), -_NONE) for column in columns] + [0.0] * len(rows) for row in rows]
    return [(rows[at], columns[to]) for at, to in enumerate(_cheapest(costs)) if to < len(columns)]


def _greedy(group: list[Pair]) -> list[tuple[int, int]]:
    chosen: dict[int, int] = {}
    taken: set[int] = set()
    for _, row, column in sorted(group, key=lambda pair: (-pair[0], pair[1], pair[2])):
        if row not in chosen and column not in taken:
            chosen[row] = column
            taken.add(column)
    return list(chosen.items())


def _cheapest(costs: list[list[float]]) -> list[int]:
    """The column of each row, at the lowest sum of costs; there are at least as many columns as rows."""
    width = len(costs[0])
    row_potential = [0.0] * (len(costs) + 1)
    column_potential = [0.0] * (width + 1)
    owner = [0] * (width + 1)  # 0 means no row: rows and columns are counted from 1 here
    for row in range(1, len(costs) + 1):
        owner[0] = row
        column = 0
        lowest = [float("inf")] * (width + 1)
        came_from = [0] * (width + 1)
        used = [False] * (width + 1)
        while owner[column]:
            used[column] = True
            at, step, following = owner[column], float("inf"), 0
            for each in range(1, width + 1):
                if used[each]:
                    continue
                cost = costs[at - 1][each - 1] - row_potential[at] - column_potential[each]
                if cost < lowest[each]:
                    lowest[each], came_from[each] = cost, column
                if lowest[each] < step:
                    step, following = lowest[each], each
            for each in range(width + 1):
                if used[each]:
                    row_potential[owner[each]] += step
                    column_potential[each] -= step
                else:
                    lowest[each] -= step
            column = following
        while column:
            owner[column] = owner[came_from[column]]
            column = came_from[column]
    found = [0] * len(costs)
    for column in range(1, width + 1):
        if owner[column]:
            found[owner[column] - 1] = column - 1
    return found
