"""The tracker on real detections: its scores stay, and pods of uneven speed change nothing."""

from __future__ import annotations

import pytest
from tests.tracking import pods
from tests.tracking.__main__ import ours
from tests.tracking.scenes import SCENE, kept, read
from tests.tracking.scores import scores

from elastic_inference.domain.events.assignment import assign
from elastic_inference.domain.events.tracker import MAX_TRACKS, Seen, Tracker

needs_scene = pytest.mark.skipif(not SCENE.is_dir(), reason=f"{SCENE} is missing")


@needs_scene
@pytest.mark.parametrize(("step", "idf1", "mota"), [(1, 0.79, 0.71), (5, 0.71, 0.66), (12, 0.60, 0.61)])
def test_scores_stay(step: int, idf1: float, mota: float) -> None:
    """`make bench-tracking` compares them with a library's; the bars here are the lowest over all phases."""
    truth = read("gt")
    for phase in range(step):
        true_boxes = [[(identity, box) for identity, _, box in truth[number]] for number in kept(step, phase)]
        found = scores(list(zip(true_boxes, ours(step, phase), strict=True)))
        assert found.idf1 >= idf1
        assert found.mota >= mota


@needs_scene
@pytest.mark.parametrize("count", [1, 2, 4])
@pytest.mark.parametrize("trouble", [False, True])
def test_pods_of_uneven_speed_change_no_box_and_no_id(count: int, trouble: bool) -> None:
    """With drops; with trouble, a pod is killed and another worker resumes in the middle."""
    found = pods.arrivals(count, 1, killed=trouble and count > 1)
    assert count == 1 or [each.frame for each in found] != sorted(each.frame for each in found)
    made, late = pods.behind_pods(found, takeover=trouble)
    assert pods.same_after_mapping(made, pods.in_order(found))
    assert late == 0


@needs_scene
def test_without_order_the_ids_would_differ() -> None:
    """The comparison above can fail."""
    found = pods.arrivals(4, 1)
    mixed = [pods.Arrival(each.at_ms, n, each.captured_ms, each.result) for n, each in enumerate(found)]
    assert not pods.same_after_mapping(pods.in_order(mixed), pods.in_order(found))


def test_scores_of_a_perfect_and_a_broken_track() -> None:
    box = (0.0, 0.0, 0.5, 0.5)
    truth = [[("a", box)]] * 4
    assert scores([(each, [(1, box)]) for each in truth]) == (1.0, 1.0)
    broken = [(each, [(1 if n < 2 else 2, box)]) for n, each in enumerate(truth)]
    assert scores(broken) == (0.5, 0.75)
    assert scores([(each, []) for each in truth]) == (0.0, 0.0)


def test_the_assignment_is_the_best_one() -> None:
    """The best pair first would give 0.9 + 0.1."""
    assert dict(assign([(0.9, 0, 0), (0.8, 0, 1), (0.8, 1, 0), (0.1, 1, 1)])) == {0: 1, 1: 0}
    crowd = [(1.0 + (row == column), row, column) for row in range(40) for column in range(40)]
    assert dict(assign(crowd)) == {n: n for n in range(40)}
    assert assign([]) == []


def test_time_decides_how_long_a_track_lives_not_frames() -> None:
    for dt in (0.04, 0.5):
        tracker = Tracker(1)
        seen = [Seen("person", 0.9, (0.4, 0.4, 0.5, 0.8))]
        for _ in range(6):
            tracker.update(seen, dt)
        waited = 0.0
        while not (ended := tracker.update([], dt).ended):
            waited += dt
        assert [track.n for track in ended] == [1]
        assert 2.4 <= waited <= 3.1


def test_a_label_that_flickers_does_not_break_a_track() -> None:
    tracker = Tracker(1)
    for n in range(20):
        label = "truck" if n % 4 == 3 else "car"
        (track,) = tracker.update([Seen(label, 0.8, (0.4, 0.4, 0.6, 0.6))], 0.1).tracks
    assert track is not None
    assert (track.n, track.label) == (1, "car")


def test_tracks_are_bounded() -> None:
    tracker = Tracker(1)
    grid = [Seen("x", 0.9, (n % 20 / 20, n // 20 / 20, n % 20 / 20 + 0.04, n // 20 / 20 + 0.04)) for n in range(400)]
    for _ in range(3):
        tracker.update(grid, 0.1)
    assert len(tracker.tracks) == MAX_TRACKS
