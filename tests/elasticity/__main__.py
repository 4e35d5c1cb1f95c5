"""`make test-elasticity`: the autoscalers with real pods and real frames; judges, plots and records each run."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from elastic_inference import __version__
from elastic_inference.commands.planning.capacity import plan
from elastic_inference.commands.planning.sheet import Demand, Measured, NodePlan
from tests.elasticity import camera_pool
from tests.elasticity.cluster import (
    GATEWAY_NODE_PORT,
    MONITORING,
    NAMESPACE,
    QUEUE_NODE_PORT,
    TYPE,
    Cluster,
    cores,
    digests_of,
    seconds,
    wait_until,
)
from tests.elasticity.judge import SHIPPED_WINDOW_S, line, problems_of, wakes
from tests.elasticity.load import Load
from tests.elasticity.model_switch import ACTION, RESET, ModelApi
from tests.elasticity.plot import plot
from tests.elasticity.record import Models, Run, Sample
from tests.elasticity.scenarios import HIGH, STEPS, TARGET, Scenario, default, further
from tests.elasticity.simulated import simulate_run
from tests.support.manifests import PROJECT

PLANNER_FILE = "planner.json"
QUOTAS_FILE = "quotas.json"
# Twice the test's scale-in window and a pod's start.
PLANNER_SETTLES_S = 120.0
PLANNER_LASTS_S = 40.0
PLANNER_OFF_BY = 0.2
# The autoscaler shows a ratio within a minute.
SEEN_WITHIN_S = 60.0
OFF = {"adapter": "ei-prometheus-adapter", "prometheus": "ei-prometheus"}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the scenarios; 0 if every bar was met."""
    try:
        return _main(_parse(arguments))
    except KeyboardInterrupt:
        return 130
    except AssertionError as error:
        print(f"elasticity: {error}", file=sys.stderr)
        return 1


def _main(options: argparse.Namespace) -> int:
    every = [*default(options.hold), *further(options.window, options.steps, options.seed, options.demand)]
    chosen = every if options.all else default(options.hold)
    if options.only:
        chosen = [each for each in every if each.name in options.only.split(",")]
        if not chosen:
            print(f"--only {options.only}: expected some of {', '.join(each.name for each in every)}", file=sys.stderr)
            return 2
    digests = digests_of(options.digests, options.registry, options.tag)
    if not digests:
        print(f"{options.digests} does not name these images: a node that has some of this tag uses those", flush=True)
    with (
        tempfile.TemporaryDirectory(prefix="ei-elasticity-") as folder,
        Cluster(
            Path(folder),
            (options.registry, options.tag),
            options.cpu,
            options.window,
            infer_type=options.type,
            beside=options.beside,
            digests=digests,
        ) as cluster,
    ):
        try:
            cluster.set_up(with_monitoring=not options.keep_monitoring)
            url = f"redis://{options.node}:{QUEUE_NODE_PORT}/0"
            with Load(url, cluster.type, cluster.secret("camera-password"), cluster.secret("admin-password")) as load:
                if options.quotas:
                    return _quotas(cluster, load, options.quotas.split(","), options.out)
                if options.camera_pool:
                    return camera_pool.run(cluster, options.node, options.window, options.out)
                if options.planner:
                    return _planner(cluster, load, options.planner, cores(options.cpu), options.out)
                runs, failed = _scenarios(cluster, load, chosen, options)
        finally:
            if not options.keep:
                cluster.take_down()
    print(*wakes(runs), sep="\n")
    print(*(f"FAILED {each}" for each in failed), f"{len(chosen)} scenarios, {len(failed)} bars missed", sep="\n")
    return 1 if failed else 0


def _scenarios(
    cluster: Cluster, load: Load, chosen: Sequence[Scenario], options: argparse.Namespace
) -> tuple[list[Run], list[str]]:
    """Runs them; returns what came of it, and the bars that were missed."""
    runs, failed = list[Run](), list[str]()
    gateway = f"http://{options.node}:{GATEWAY_NODE_PORT}"
    api = ModelApi(gateway, cluster.secret("gateway-token"), cluster.type)
    pod_fps = options.pod_fps or _capacity(cluster, load)
    print(f"a pod of {options.cpu} CPU infers {pod_fps:.1f} fps", flush=True)
    for scenario in chosen:
        try:
            run = _run(cluster, load, api, scenario, pod_fps)
        except AssertionError as error:
            failed.append(f"{scenario.name}: {error}")
            print(failed[-1], flush=True)
            continue
        # Simulated pods have one size.
        if run.autoscaler != "hpa-cpu" and len(scenario.resizes()) == 1:
            run.simulated = simulate_run(run, scenario, options.window)
        problems = problems_of(run, scenario, options.window)
        failed += [f"{run.name}: {problem}" for problem in problems]
        _write(run, options.out)
        runs.append(run)
        print(line(run, scenario), *problems, sep="\n  ", flush=True)
    return runs, failed


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tests.elasticity", description=__doc__)
    parser.add_argument("--all", action="store_true", help="also ramps, bursts, broken chains, shipped windows")
    parser.add_argument("--only", metavar="NAMES", help="some scenarios, by name")
    parser.add_argument("--quotas", metavar="CPUS", help="only measure a pod under these limits, such as 100m,500m,1")
    parser.add_argument(
        "--planner",
        type=float,
        metavar="FPS",
        help="only compare tools/plan-capacity with the pool at 1, 4 and 16 streams of this rate",
    )
    parser.add_argument(
        "--camera-pool", action="store_true", help="only: the source workers follow RTSP cameras of this machine"
    )
    parser.add_argument("--registry", default="localhost:5000", help="registry of the images (%(default)s)")
    parser.add_argument("--tag", default=__version__, help="their tag (%(default)s)")
    parser.add_argument(
        "--digests", type=Path, default=PROJECT / "build" / "digests.txt", help="of the images, from container/build.sh"
    )
    parser.add_argument("--node", default="127.0.0.1", help="address of the node ports (%(default)s)")
    parser.add_argument("--cpu", default="100m", help="CPU limit of a pod (%(default)s)")
    parser.add_argument("--window", type=int, default=60, help="seconds of the scale-in window (%(default)s)")
    parser.add_argument("--hold", type=float, default=600, help="seconds to watch after the step up (%(default)s)")
    parser.add_argument("--out", type=Path, default=PROJECT / "doc" / "elasticity", help="folder for plots and figures")
    parser.add_argument("--type", default=TYPE, help="the inference type (%(default)s)")
    parser.add_argument(
        "--beside",
        action="store_true",
        help="use the installation of a run of another --type, which goes on: two types side by side",
    )
    parser.add_argument("--pod-fps", type=float, help="what a pod infers (measured first); needed with --beside")
    parser.add_argument("--steps", type=int, default=STEPS, help="of step-at-random (%(default)s)")
    parser.add_argument(
        "--demand", type=float, default=HIGH, metavar="PODS", help="to which it rises, in fully used pods (%(default)s)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of its moments (%(default)s)")
    parser.add_argument("--keep", action="store_true", help="keep the namespace")
    parser.add_argument("--keep-monitoring", action="store_true", help="use the monitoring that is installed already")
    return parser.parse_args(arguments)


def _quotas(cluster: Cluster, load: Load, limits: Sequence[str], folder: Path) -> int:
    """Records the rate and the start of a pod under each CPU limit."""
    records = []
    for limit in limits:
        cluster.limit(limit)
        fps = round(_capacity(cluster, load, 600.0), 1)
        records.append({"cpu": limit, "fps": fps, "start_s": max(_starts(cluster.pods()).values())})
        print(json.dumps(records[-1]), flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / QUOTAS_FILE).write_text(json.dumps(records, indent=1) + "\n")
    return 0


def _planner(cluster: Cluster, load: Load, fps: float, pod_cores: float, folder: Path) -> int:
    """Prints and records pods and Redis MB/s, planned and measured; 1 if a plan is off by a fifth."""
    pod_fps = _capacity(cluster, load)
    print(f"a pod of {pod_cores:g} cores infers {pod_fps:.1f} fps", flush=True)
    frame_bytes = round(sum(map(len, load.images)) / len(load.images))
    cluster.use("hpa-ratio")
    records = []
    for streams in (1, 4, 16):
        demand = Demand(cameras=streams, fps=fps, frame_bytes=frame_bytes, detections=0.0, viewers=0, watched_streams=0)
        sheet = plan(demand, Measured(fps_per_core=pod_fps / pod_cores), NodePlan(pod_cores, target=TARGET))
        load.follow(lambda _, rate=fps * streams: rate, streams)  # type: ignore[misc]
        time.sleep(PLANNER_SETTLES_S)
        pods, before, began = [], load.redis_bytes(), time.monotonic()
        frames, ratios = load.inferred, []
        while time.monotonic() - began < PLANNER_LASTS_S:
            pods.append(cluster.deployment()[1])
            ratios.append(cluster.autoscaler_sees() or 0.0)
            time.sleep(1)
        spent = time.monotonic() - began
        taken, given = ((after - then) / spent / 1e6 for after, then in zip(load.redis_bytes(), before, strict=True))
        records.append(
            {
                "streams": streams,
                "fps": fps,
                "pod_fps": round(pod_fps, 1),
                "frame_bytes": frame_bytes,
                "planned_pods": sheet.pods,
                "planned_pods_unrounded": round(sheet.pods_unrounded, 2),
                "pods": statistics.mode(pods),
                "pods_unrounded": round(statistics.mean(ratios) * statistics.mode(pods) / TARGET, 2),
                "ratio": round(statistics.mean(ratios), 3),
                "inferred_fps": round((load.inferred - frames) / spent, 1),
                "planned_redis_mb_s": round(sheet.redis_in_mb_s + sheet.redis_out_mb_s, 3),
                "redis_mb_s": round(taken + given, 3),
            }
        )
        print(json.dumps(records[-1]), flush=True)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / PLANNER_FILE).write_text(json.dumps(records, indent=1) + "\n")
    off = [abs(each[f"planned_{what}"] / each[what] - 1) for each in records for what in ("pods", "redis_mb_s")]
    print(f"largest error of the plan: {max(off):.0%}")
    return 1 if max(off) > PLANNER_OFF_BY else 0


def _capacity(cluster: Cluster, load: Load, rate: float = 150.0) -> float:
    """The fps of one pod while frames are always waiting: `rate` is pushed."""
    cluster.use("none")
    cluster.scale(1)
    load.follow(lambda _: rate)
    wait_until(lambda: load.inferred > 0, 120, "the first result")
    time.sleep(8)
    before, began = load.inferred, time.monotonic()
    time.sleep(20)
    found = (load.inferred - before) / (time.monotonic() - began)
    load.follow(lambda _: 0.0)
    return found


def _run(cluster: Cluster, load: Load, api: ModelApi, scenario: Scenario, pod_fps: float) -> Run:
    if scenario.autoscaler.startswith("keda"):
        assert cluster.has_keda(), "KEDA is not installed: tools/install-keda.sh"
    load.follow(lambda _: 0.0)
    cluster.use("none")
    if not scenario.changes_models():
        return _observe(cluster, load, api, scenario, pod_fps)
    cluster.several_models(True)
    try:
        return _observe(cluster, load, api, scenario, pod_fps)
    finally:
        try:
            api.request(RESET)
        finally:
            cluster.several_models(False)


def _observe(cluster: Cluster, load: Load, api: ModelApi, scenario: Scenario, pod_fps: float) -> Run:
    _begin(cluster, load, scenario, pod_fps)
    name = scenario.name if cluster.type == TYPE else f"{scenario.name}-{cluster.type}"
    run = Run(name, scenario.autoscaler, pod_fps, 0.0, scenario.changed_s, scenario.expected)
    if not scenario.start:
        load.forget_drops()
    dropped_before = _drops(cluster)
    drops: dict[tuple[str, str], float] = {}
    load.follow(lambda at_s: scenario.demand(at_s) * pod_fps)
    began = time.monotonic()
    watch = cluster.watch(began)
    waiting = list(scenario.disturb)
    before, starts = {each["metadata"]["name"] for each in cluster.pods()}, dict[str, float]()
    try:
        while (at_s := time.monotonic() - began) < scenario.length_s:
            while waiting and at_s >= waiting[0][0]:
                _disturb(cluster, api, waiting.pop(0)[1])
            sized_fps = pod_fps * scenario.size_at(at_s)
            run.samples.append(_sample(cluster, at_s, scenario.demand(at_s) * pod_fps, sized_fps, drops))
            if scenario.changes_models():
                run.models.append(Models(round(at_s, 1), cluster.models(), api.failure()))
            # A pod's start ends with its first Ready; it may be lost and found again later.
            starts = {**_starts(cluster.pods()), **starts}
            time.sleep(max(0.05, 1.0 - (time.monotonic() - began - at_s)))
    finally:
        watch.stop()
        for _, what in waiting:
            if what.endswith("-on"):
                _disturb(cluster, api, what)
        if len(scenario.resizes()) > 1:
            cluster.resize(1.0)  # the next scenario uses these pods
    run.start_s = max((took for name, took in starts.items() if name not in before), default=0.0)
    if not scenario.start:
        run.wake = watch.notes.wake(load.first_frame_s, load.first_result_s)
    load.follow_nothing()
    wait_until(lambda: load.waiting() == 0, 30, "the queue to be empty")
    time.sleep(6)
    _drops(cluster, drops)
    run.pushed, run.inferred, run.lost, run.refused = load.pushed, load.inferred, load.lost(), load.refused
    if scenario.changes_models():
        run.gaps, run.disordered = dict(load.gaps), load.disordered
    by_reason: dict[str, int] = {}
    for key, value in drops.items():
        by_reason[key[1]] = by_reason.get(key[1], 0) + round(value - dropped_before.get(key, 0.0))
    run.dropped = {reason: count for reason, count in sorted(by_reason.items()) if count}
    return run


def _begin(cluster: Cluster, load: Load, scenario: Scenario, pod_fps: float) -> None:
    """Pods, their first demand and the autoscaler, as the scenario begins."""
    cluster.scale(scenario.start)
    if scenario.size != 1:
        cluster.resize(scenario.size)
    warm = scenario.demand(0) * pod_fps
    load.follow(lambda _: warm)
    time.sleep(12)
    began_use = time.monotonic()
    cluster.use(scenario.autoscaler, SHIPPED_WINDOW_S if scenario.shipped_windows else None)
    if scenario.start:
        seen = "the autoscaler to see the ratio"
        took = wait_until(lambda: cluster.autoscaler_sees() is not None, SEEN_WITHIN_S, seen)
        print(f"{scenario.name}: the autoscaler sees the ratio after {took:.0f} s", flush=True)
        time.sleep(max(0.0, 20 - (time.monotonic() - began_use)))


def _sample(
    cluster: Cluster, at_s: float, demand_fps: float, pod_fps: float, drops: dict[tuple[str, str], float]
) -> Sample:
    replicas, ready = cluster.deployment()
    values: dict[str, list[float]] = {"ei_scale_ratio": [], "ei_drop_fps": []}
    wanted = (
        f'__name__=~"ei_scale_ratio|ei_drop_fps",namespace="{NAMESPACE}",component="inference",pod=~"{cluster.pool}-.*"'
    )
    for each in cluster.query(f"{{{wanted}}}"):
        values[each["metric"]["__name__"]].append(float(each["value"][1]))
    _drops(cluster, drops)
    ratios = values["ei_scale_ratio"]
    return Sample(
        at_s=round(at_s, 1),
        demand_fps=round(demand_fps, 2),
        capacity_fps=round(max(ready, 0) * pod_fps, 2),
        ratio=round(sum(ratios) / len(ratios), 3) if ratios else None,
        seen=cluster.autoscaler_sees(),
        replicas=replicas,
        ready=ready,
        drop_fps=round(sum(values["ei_drop_fps"]), 2),
    )


def _starts(found: Sequence[Any]) -> dict[str, float]:
    """Seconds from creation to Ready of these pods, by name; only those that are Ready."""
    starts = {}
    for pod in found:
        for each in pod["status"].get("conditions", ()):
            if each["type"] == "Ready" and each["status"] == "True":
                created, ready = pod["metadata"]["creationTimestamp"], each["lastTransitionTime"]
                starts[pod["metadata"]["name"]] = seconds(ready) - seconds(created)
    return starts


def _drops(cluster: Cluster, found: dict[tuple[str, str], float] | None = None) -> dict[tuple[str, str], float]:
    """The drop counters by (pod, reason), highest value so far: a pod that ends leaves its last value.

    While the type has no pod, housekeeping counts them.
    """
    found = {} if found is None else found
    counting = f'namespace="{NAMESPACE}",component=~"inference|housekeeping",infer_type="{cluster.type}"'
    for each in cluster.query(f"ei_frames_dropped_total{{{counting}}}"):
        key = (each["metric"]["pod"], each["metric"]["reason"])
        found[key] = max(found.get(key, 0.0), float(each["value"][1]))
    return found


def _disturb(cluster: Cluster, api: ModelApi, what: str) -> None:
    print(f"  {what}", flush=True)
    if what.startswith(ACTION):
        api.request(what.removeprefix(ACTION))
        return
    if what == "kill":
        pods = cluster.kubectl("-n", NAMESPACE, "get", "pods", "-l", f"app={cluster.pool}", "-o", "name").split()
        cluster.kubectl("-n", NAMESPACE, "delete", pods[0], "--grace-period=0", "--force", "--wait=false")
        return
    part, _, state = what.partition("-")
    if part == "resize":
        cluster.resize(float(state))
        return
    replicas = 1 if state == "on" else 0
    cluster.kubectl("-n", MONITORING, "scale", f"deployment/{OFF[part]}", f"--replicas={replicas}")


def _write(run: Run, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{run.name}.json").write_text(json.dumps(run.as_dict(), separators=(",", ":")) + "\n")
    (folder / f"{run.name}.svg").write_text(plot(run))


if __name__ == "__main__":
    sys.exit(main())
