"""What a frame costs a pod beside the inference, over another build: CPU time, in many short alternating rounds.

The difference between a pod's CPU time and that of OpenVINO alone is a small number between two large ones, and differs
by a third between two runs. So this measures a pod's own part directly, in two ways:

- *own threads*: with the real model, the CPU time of all threads that Python started. The engine has threads of its
  own, and its model still takes the CPU's caches.
- *recorded outputs*: the CPU time of the whole process with a model that computes nothing (`recorded_model`).

Each round infers a fixed number of frames and ends when all results are published, so both builds do the same work: at
a full queue (`full`), and frame by frame at PACED_FPS. `python -m tests.bench --only cost --before DIR` runs it.

`pops` in the details is how often the pod asked the queue, for each frame. It depends on how fast the pod has found
itself to be: with one frame at a time, a pod's own threads took 1.15 times as much as with four. So compare two builds
only where both have about the same.
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import redis

from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from tests.bench.pod import CASES, Case, has_model, load_jpegs
from tests.bench.pod_children import BATCH, STREAMS, TYPE
from tests.bench.pod_processes import running_pod
from tests.bench.record import Context, Figure, LeftOut, alternate, cpu_s, median_figure, ratios
from tests.support.system import REPOSITORY

PART = "cost"
ROUNDS = 16
# Frames in one round: some 0.5 s on two cores with face-0005, so that other load meets both builds alike.
FULL_FRAMES, PACED_FRAMES = 96, 32
PACED_FPS = 60.0
LIMIT_S = 60.0


def figures(context: Context, wanted: str = "") -> Iterator[Figure | LeftOut]:
    """The figures of all cases that have a bar over the build before, and whose name contains `wanted`."""
    if context.before is None:
        yield LeftOut(PART, "it needs --before DIR, another build")
        return
    for case in CASES:
        if case.beyond_maximum is None or wanted not in case.name:
            continue
        models = context.embedded if case.model == "blazeface" else context.models
        if has_model(case, models):
            yield from _case(case, models, context, context.before)
        else:
            yield LeftOut(PART, f"{case.name}: the model is missing")


def _case(case: Case, models: Path, context: Context, before: Path) -> Iterator[Figure]:
    jpegs = load_jpegs(case.size, context.videos)
    with tempfile.TemporaryDirectory(prefix="ei-bench-") as folder:
        recorded = Path(folder) / "recorded"
        subprocess.run(  # in a process of its own, whose OpenVINO ends with it
            [sys.executable, "-m", "tests.bench.recorded_model", case.model, str(models), str(recorded)],
            input=jpegs[0],
            check=True,
        )
        for words, where, part in (("own threads", models, "own"), ("recorded outputs", recorded, "process")):
            with ExitStack() as stack:
                now, then = (
                    stack.enter_context(MeasuredPod(case.model, where, build, jpegs, Path(folder)))
                    for build in (REPOSITORY, before)
                )
                yield from _compared(f"{case.name}, {words}", part, (now, then), case, context)


def _compared(title: str, part: str, pods: Sequence[MeasuredPod], case: Case, context: Context) -> Iterator[Figure]:
    for words, fps in (("full", None), (f"{PACED_FPS:g} fps", PACED_FPS)):
        for pod in pods:
            pod.round(fps)  # warms up
            pod.taken.clear()
        ways = (partial(_round, pod, fps, part) for pod in pods)
        now, then = alternate(context.rounds(ROUNDS), *ways)
        details = {
            name: {each: round(statistics.median(one[each] for one in pod.taken), 4) for each in pod.taken[0]}
            for name, pod in zip(("now", "before"), pods, strict=True)
        }
        bar = case.beyond_maximum if fps is None else None
        name = f"{title}, {words}: CPU a frame over the build before"
        yield median_figure(PART, name, ratios(now, then), maximum=bar, details=details)


def _round(pod: MeasuredPod, fps: float | None, part: str) -> float:
    return pod.round(fps)[part]


class MeasuredPod:
    """A pod of one build, with a Valkey of its own."""

    def __init__(self, model: str, models: Path, build: Path, jpegs: list[bytes], folder: Path) -> None:
        self._model, self._models, self._build, self._jpegs = model, models, build, jpegs
        self._told = folder / f"threads-{build.name}-{models.name}.json"
        self._stack = ExitStack()
        self._sent = 0
        self._threads: list[int] = []
        # CPU ms for each frame, one entry for each round.
        self.taken: list[dict[str, float]] = []

    def __enter__(self) -> MeasuredPod:
        server = self._stack.enter_context(EmbeddedValkey())
        python = sys.executable if self._build == REPOSITORY else str(self._build / ".venv" / "bin" / "python")
        script = Path(__file__).with_name("pod_threads.py")
        command = [python, str(script), str(self._told), str(self._build / "apps" / "infer_service.py")]
        cores = sorted(os.sched_getaffinity(0))
        pod = self._stack.enter_context(running_pod(server, self._model, self._models, cores, command))
        assert server.pid is not None
        self._pid, self._server_pid = pod.process.pid, server.pid
        target = config.RedisTarget(url=Secret(server.url))
        rules = config.QueueRules(stream_queue_depth=64, max_frame_age_s=60)
        self._producers = [QueueProducer(connect(target), TYPE, f"cam-{at}", rules) for at in range(STREAMS)]
        self._client = self._stack.enter_context(redis.Redis(port=server.port))
        self.round(None)
        self._threads = self._ask_threads()
        return self

    def __exit__(self, *_: object) -> None:
        for producer in self._producers:
            producer.close()
        self._stack.close()

    def round(self, fps: float | None) -> dict[str, float]:
        """CPU ms for each frame: the pod's `own` threads, the `engine`'s, the `process`, the `server`; and `pops`."""
        first, calls = self._used(), self._script_calls()
        frames = FULL_FRAMES if fps is None else PACED_FRAMES
        pushes = self._push_all(frames) if fps is None else self._push_paced(frames, fps)
        self._wait_for_results()
        last = self._used()
        spent = {name: (last[name] - first[name]) * 1000 / frames for name in first}
        spent["engine"] = spent["process"] - spent["own"]
        spent["pops"] = (self._script_calls() - calls - pushes) / frames
        self.taken.append(spent)
        return spent

    def _push_all(self, frames: int) -> int:
        """The number of pushes."""
        starts = range(0, frames, BATCH)
        for start in starts:
            self._push(start // BATCH, min(BATCH, frames - start))
        return len(starts)

    def _push_paced(self, frames: int, fps: float) -> int:
        """The number of pushes."""
        began = time.monotonic()
        for at in range(frames):
            time.sleep(max(0.0, began + at / fps - time.monotonic()))
            self._push(at, 1)
        return frames

    def _push(self, turn: int, count: int) -> None:
        number = turn % STREAMS
        batch = [
            Frame(f"cam-{number}", TYPE, self._jpegs[(self._sent + at) % len(self._jpegs)], self._sent + at)
            for at in range(count)
        ]
        self._producers[number].push_batch(batch)
        self._sent += count

    def _wait_for_results(self) -> None:
        deadline = time.monotonic() + LIMIT_S
        while self._published() < self._sent:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{self._sent} frames were sent, but {self._published()} results came")
            time.sleep(0.01)
        time.sleep(0.02)  # what follows a publish

    def _published(self) -> int:
        try:
            return int(self._client.xinfo_stream(keys.results(TYPE))["entries-added"])
        except redis.ResponseError:
            return 0  # there is none yet

    def _script_calls(self) -> int:
        """Scripts called so far: one for each push, and one for each pop."""
        calls: int = self._client.info("commandstats").get("cmdstat_evalsha", {}).get("calls", 0)
        return calls

    def _used(self) -> dict[str, float]:
        """CPU seconds so far."""
        own = sum(_thread_cpu_s(self._pid, each) for each in self._threads)
        return {"own": own, "process": cpu_s(self._pid), "server": cpu_s(self._server_pid)}

    def _ask_threads(self) -> list[int]:
        """The threads that Python started."""
        os.kill(self._pid, signal.SIGUSR1)
        deadline = time.monotonic() + LIMIT_S
        while not self._told.exists():
            if time.monotonic() > deadline:
                raise RuntimeError("the pod does not say which threads it has")
            time.sleep(0.05)
        found: list[int] = json.loads(self._told.read_text())
        return found


def _thread_cpu_s(pid: int, thread: int) -> float:
    """CPU seconds of a thread, by the scheduler's own count."""
    return int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0]) / 1e9
