"""`ei-plan-capacity`: how many pods, cores, Redis shards and relays a number of cameras needs, as text or JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Sequence

from elastic_inference.planning.capacity import Demand, Layout, Measured, Sheet, plan

EPILOG = """\
example, with the pod's figure from `make bench`:
  plan-capacity --cameras 64 --fps 15 --fps-per-core 110 --frame-kb 50

The formulas are in doc/capacity.md. Measure --fps-per-core with your model on your machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the sheet; the exit code."""
    options = _parse(sys.argv[1:] if arguments is None else arguments)
    demand = Demand(
        cameras=options.cameras,
        fps=options.fps,
        frame_bytes=round(options.frame_kb * 1000) if options.frame_kb else _frame_bytes(options.size),
        types=options.types,
        detections=options.detections,
        viewers=options.viewers,
        watched_streams=options.watched if options.watched is not None else min(options.viewers, options.cameras),
    )
    measured = Measured(
        fps_per_core=options.fps_per_core,
        producer_fps_per_core=options.producer_fps_per_core,
        shard_mb_s=options.shard_mb_s,
        shard_frames_s=options.shard_frames_s,
        relay_frames_s=options.relay_frames_s,
        gateway_mb_s=options.gateway_mb_s,
        network_mb_s=options.network_mb_s,
    )
    layout = Layout(pod_cores=options.pod_cores, node_cores=options.node_cores, target=options.target)
    sheet = plan(demand, measured, layout)
    if options.json:
        print(json.dumps(sheet.as_dict(), indent=2))
    else:
        print(_text(demand, layout, sheet))
    return 0


def _text(demand: Demand, layout: Layout, sheet: Sheet) -> str:
    rows = [
        ("frames to infer", f"{sheet.frames_s:,.0f} a second"),
        ("inference pods", f"{sheet.pods:,} of {layout.pod_cores:g} cores at a ratio of {layout.target:g}"),
        ("cores", f"{sheet.pool_cores:,.0f} for inference, {sheet.producer_cores:,.1f} for producers"),
        (
            "Redis",
            f"{sheet.redis_in_mb_s:,.1f} MB/s in, {sheet.redis_out_mb_s:,.1f} MB/s out: {sheet.redis_shards:,} shards",
        ),
        ("types", f"{sheet.types_needed:,}, so that each fits a shard"),
        ("viewers", f"{demand.viewers:,}: {sheet.viewer_mb_s:,.1f} MB/s"),
        ("websocket servers", f"{sheet.relay_replicas:,}"),
        ("gateways", f"{sheet.gateway_replicas:,}"),
        ("nodes", f"{sheet.nodes:,} of {layout.node_cores:g} cores (by their {sheet.nodes_by})"),
    ]
    kilobytes = demand.frame_bytes / 1000
    lines = [f"{demand.cameras:,} cameras of {demand.fps:g} fps, {kilobytes:g} kB a frame, {demand.types} types"]
    lines += [f"  {name:<18} {value}" for name, value in rows]
    if sheet.bottlenecks:
        lines += ["", "What gives way on the way there, and what removes it:"]
        lines += [f"  {number}. {text}" for number, text in enumerate(sheet.bottlenecks, 1)]
    return "\n".join(lines)


def _frame_bytes(size: tuple[int, int]) -> int:
    """About 0.15 bytes a pixel: JPEG of quality 80, 4:2:0, as measured on the sample clips."""
    return round(size[0] * size[1] * 0.15)


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "plan-capacity",
        description="From cameras to pods, cores, Redis bandwidth and shards, network and relay replicas.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cameras", type=_number(int, 1, 10_000_000), required=True, help="how many cameras")
    add(
        "--fps-per-core", type=_number(float, 0.01, 1e6), required=True, help="frames a second one core of a pod infers"
    )
    add("--fps", type=_number(float, 0.01, 1000), default=15.0, help="frames a second of a camera (%(default)s)")
    add(
        "--size",
        type=_size,
        default=(768, 432),
        metavar="WxH",
        help="picture size (768x432), unless --frame-kb is given",
    )
    add("--frame-kb", type=_number(float, 0.1, 100_000), help="kilobytes of a frame's JPEG")
    add("--types", type=_number(int, 1, 1000), default=1, help="inference types that get each frame (%(default)s)")
    add("--detections", type=_number(float, 0, 1000), default=3.0, help="detections of a frame (%(default)s)")
    add("--viewers", type=_number(int, 0, 10_000_000), default=10, help="open websockets (%(default)s)")
    add("--watched", type=_number(int, 0, 10_000_000), help="streams that have a viewer (as many as viewers)")
    add("--pod-cores", type=_number(float, 0.05, 1000), default=1.0, help="cores of an inference pod (%(default)s)")
    add("--node-cores", type=_number(float, 1, 1000), default=8.0, help="cores of a node (%(default)s)")
    add(
        "--target",
        type=_number(float, 0.05, 1),
        default=0.8,
        help="the autoscaler's target for the ratio (%(default)s)",
    )
    add(
        "--producer-fps-per-core",
        type=_number(float, 0.1, 1e6),
        default=250.0,
        help="frames a producer encodes (%(default)s)",
    )
    add("--shard-mb-s", type=_number(float, 0.1, 1e6), default=800.0, help="MB/s of one Redis process (%(default)s)")
    add(
        "--shard-frames-s",
        type=_number(float, 1, 1e7),
        default=12_000.0,
        help="frames a second of one Redis (%(default)s)",
    )
    add(
        "--relay-frames-s",
        type=_number(float, 1, 1e7),
        default=6_000.0,
        help="frames to viewers of one relay (%(default)s)",
    )
    add("--gateway-mb-s", type=_number(float, 0.1, 1e6), default=400.0, help="MB/s of one gateway (%(default)s)")
    add("--network-mb-s", type=_number(float, 0.1, 1e6), default=1_100.0, help="MB/s of a node's network (%(default)s)")
    add("--json", action="store_true", help="print JSON")
    return parser.parse_args(arguments)


def _number(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}: expected {low:g} to {high:g}")
        return value

    return parse


def _size(text: str) -> tuple[int, int]:
    width, found, height = text.lower().partition("x")
    if (
        not found
        or not width.isdigit()
        or not height.isdigit()
        or not (16 <= int(width) <= 16384 and 16 <= int(height) <= 16384)
    ):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT in pixels, such as 1280x720")
    return int(width), int(height)


if __name__ == "__main__":
    sys.exit(main())
