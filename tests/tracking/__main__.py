"""IDF1 and MOTA of our tracker beside those of the library `trackers`, and the same boxes and ids behind several pods.

`make bench-tracking`: on TUD-Stadtmitte, at 25, 5 and 2.1 frames a second, over all phases of the start.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from elastic_inference.domain.events.tracker import Seen, Tracker
from tests.tracking import pods
from tests.tracking.scenes import FPS, SCENE, STEPS, Box, kept, read
from tests.tracking.scores import scores

REPOSITORY = Path(__file__).resolve().parents[2]
OURS = "ours"


def ours(step: int, phase: int) -> list[list[tuple[int, Box]]]:
    """(id, box) by frame, as our tracker gives them."""
    scene, tracker, last, found = read("det"), Tracker(1), None, []
    for number in kept(step, phase):
        seen = [Seen("person", min(confidence, 1.0), box) for _, confidence, box in scene[number]]
        frame = tracker.update(seen, 0.0 if last is None else (number - last) / FPS)
        pairs = zip(frame.tracks, seen, strict=True)
        found.append([(track.n, each.box) for track, each in pairs if track is not None and track.shown])
        last = number
    return found


def check_scores(runs: dict[int, list[list[list[tuple[int, Box]]]]], theirs: dict[str, dict[str, object]]) -> bool:
    """Whether our own IDF1 and MOTA are those that the library counts."""
    truth = read("gt")
    for step, phases in runs.items():
        for phase, found in enumerate(phases):
            true_boxes = [[(identity, box) for identity, _, box in truth[number]] for number in kept(step, phase)]
            counted = theirs[str(step)][OURS][phase]  # type: ignore[index]
            if any(
                abs(a - b) > 1e-6
                for a, b in zip(scores(list(zip(true_boxes, found, strict=True))), counted, strict=True)
            ):
                print(f"at step {step}, phase {phase} our scores differ from the library's: {counted}")
                return False
    return True


def main() -> int:
    """The exit code: 1 if a median is below the library's best, or pods change a box or an id."""
    if not SCENE.is_dir():
        print(f"{SCENE} is missing")
        return 2
    runs = {step: [ours(step, phase) for phase in range(step)] for step in STEPS}
    with tempfile.TemporaryDirectory() as folder:
        (given := Path(folder) / "ours.json").write_text(json.dumps(runs))
        done = subprocess.run(
            [sys.argv[1], "-m", "tests.tracking.library", given], cwd=REPOSITORY, stdout=subprocess.PIPE, check=True
        )
    theirs = json.loads(done.stdout)
    good = check_scores(runs, theirs)
    for step, by_tracker in theirs.items():
        print(f"\n{FPS / int(step):.1f} frames a second, {step} phases: median (lowest to highest)")
        best = [max(_median(each, n) for name, each in by_tracker.items() if name != OURS) for n in (0, 1)]
        for name, found in by_tracker.items():
            print(f"  {name:10} IDF1 {_range(found, 0)}   MOTA {_range(found, 1)}")
        good = good and all(_median(by_tracker[OURS], n) >= best[n] for n in (0, 1))
    print("\nBehind pods of uneven speed, 5 % of the frames dropped: the same boxes and ids as of one process in order")
    for count in (1, 2, 4):
        good = _pods(count) and good
    print("good" if good else "MISSED")
    return 0 if good else 1


def _pods(count: int) -> bool:
    good = True
    for killed, takeover in ((False, False), (count > 1, True)):
        same = late = 0
        for seed in range(10):
            found = pods.arrivals(count, seed, killed=killed)
            made, dropped = pods.behind_pods(found, takeover)
            same += pods.same_after_mapping(made, pods.in_order(found))
            late += dropped
        what = ", a pod killed and a worker taken over" if killed else ", a worker taken over" if takeover else ""
        print(f"  {count} pods{what}: same in {same} of 10 runs, {late} late results")
        good = good and same == 10 and not late
    return good


def _median(found: Sequence[Sequence[float]], n: int) -> float:
    return statistics.median(each[n] for each in found)


def _range(found: Sequence[Sequence[float]], n: int) -> str:
    values = [each[n] for each in found]
    return f"{statistics.median(values):.3f} ({min(values):.3f} to {max(values):.3f})"


if __name__ == "__main__":
    sys.exit(main())
