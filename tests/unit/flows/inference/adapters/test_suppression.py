"""Suppression compared with simple loops, on random boxes."""

from __future__ import annotations

import numpy as np
import pytest
from tests.support.small_models import overlap

from elastic_inference.flows.inference.adapters.suppression import (
    MAX_CANDIDATES,
    keep_highest,
    merge_few,
    merge_weighted,
    overlaps,
)


def random_boxes(seed: int, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    corner = random.random((count, 2))
    size = random.random((count, 2)) * 0.5 + 0.01
    return np.concatenate((corner, corner + size), axis=1), random.random(count), random.integers(0, 3, count)


def test_overlap_is_intersection_over_union() -> None:
    boxes, _, _ = random_boxes(1, 50)
    expected = np.array([[overlap(one, other) for other in boxes] for one in boxes])
    assert overlaps(boxes) == pytest.approx(expected)
    assert overlaps(np.zeros((1, 4))) == pytest.approx(np.zeros((1, 1)))


@pytest.mark.parametrize("seed", range(5))
def test_the_highest_score_of_each_class_stays(seed: int) -> None:
    boxes, scores, classes = random_boxes(seed, 80)
    kept: list[int] = []
    for index in sorted(range(80), key=lambda at: -scores[at]):
        if all(classes[index] != classes[other] or overlap(boxes[index], boxes[other]) <= 0.4 for other in kept):
            kept.append(index)
    assert keep_highest(boxes, scores, classes, 0.4).tolist() == kept


@pytest.mark.parametrize("seed", range(5))
def test_merged_boxes_are_means_by_score(seed: int) -> None:
    boxes, scores, _ = random_boxes(seed, 40)
    left = sorted(range(40), key=lambda at: -scores[at])
    expected = []
    while left:
        group = [at for at in left if at == left[0] or overlap(boxes[left[0]], boxes[at]) > 0.3]
        weight = sum(scores[at] for at in group)
        expected.append([sum(boxes[at][edge] * scores[at] for at in group) / weight for edge in range(4)])
        left = [at for at in left if at not in group]
    merged, sure = merge_weighted(boxes, scores, 0.3)
    assert merged == pytest.approx(np.array(expected), abs=1e-5)
    assert list(sure) == sorted(sure, reverse=True)
    few, few_sure = merge_few([tuple(each) for each in boxes.tolist()], scores.tolist(), 0.3)
    assert np.array(few) == pytest.approx(np.array(expected), abs=1e-9)
    assert few_sure == pytest.approx(sure)


def test_of_very_many_boxes_only_the_highest_scores_are_looked_at() -> None:
    boxes, scores, _ = random_boxes(9, MAX_CANDIDATES + 50)
    classes = np.arange(len(scores))
    kept = keep_highest(boxes, scores, classes, 0.4)
    assert kept.tolist() == np.argsort(-scores, kind="stable")[:MAX_CANDIDATES].tolist()


def test_nothing_gives_nothing() -> None:
    nothing = np.zeros((0, 4))
    assert keep_highest(nothing, np.zeros(0), np.zeros(0), 0.5).size == 0
    merged, sure = merge_weighted(nothing, np.zeros(0), 0.5)
    assert merged.shape == (0, 4)
    assert sure.size == 0
    assert merge_few([], [], 0.5) == ([], [])
