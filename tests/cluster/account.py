"""The account of a camera's frames: pushed = inferred + dropped + lost."""

from __future__ import annotations

from elastic_inference.domain import keys
from tests.cluster.conftest import OWN_TYPE, Installation
from tests.cluster.traffic import Camera, Results
from tests.support.waiting import wait_for

COUNTED = f"ei-infer-{OWN_TYPE}-app"


class Account:
    """Pushed, inferred, dropped and lost frames of one camera of the tests' own type."""

    def __init__(self, here: Installation, camera: Camera, results: Results) -> None:
        self._here, self._camera, self._results = here, camera, results
        self._before = self._pods()

    def _pods(self) -> dict[str, float]:
        found = {}
        for pod in self._here.kubectl.ready_pods(COUNTED):
            metrics = self._here.kubectl.metrics(pod)
            counted = ("ei_frames_dropped_total{", "ei_frames_invalid_total{")
            found[pod] = sum(value for name, value in metrics.items() if name.startswith(counted))
        return found

    def close(self) -> dict[str, int]:
        """Ends the camera, waits until the queue is empty, and adds up."""
        self._camera.stop()
        with self._here.redis("admin") as admin:
            wait_for(lambda: not admin.llen(keys.tokens(OWN_TYPE)), 30, "the queue to be empty", every_s=0.2)
            seen = [-1]

            def quiet() -> bool:
                seen.append(self._results.count(self._camera.name))
                return seen[-1] == seen[-2]

            wait_for(quiet, 20, "results to end", every_s=1.5)
            # drops that no pod has claimed yet
            found = admin.hmget(keys.dropped(OWN_TYPE), "queue_full", "stale")
            open_drops = sum(int(value or 0) for value in found)
        after = self._pods()
        dropped = int(sum(value - self._before.get(pod, 0.0) for pod, value in after.items()))
        inferred = self._results.count(self._camera.name)
        pushed = self._camera.pushed
        return {
            "pushed": pushed,
            "inferred": inferred,
            "dropped": dropped + open_drops + self._camera.dropped,
            "uncertain": self._camera.uncertain,
            "lost": pushed - inferred - dropped - open_drops - self._camera.dropped,
        }
