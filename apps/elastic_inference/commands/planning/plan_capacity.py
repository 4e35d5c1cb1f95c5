"""`ei-plan-capacity`: how many pods, cores, Redis shards and relays a number of cameras needs, as text or JSON."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence

from elastic_inference.commands.planning.capacity import Demand, Layout, Measured, Sheet, plan
from elastic_inference.domain.frame import DEFAULT_MAX_FRAME_BYTES

EPILOG = """\
example, with the pod's figure from `make bench`:
  plan-capacity --cameras 64 --fps 15 --fps-per-core 110 --frame-kb 50

The formulas are in doc/capacity.md. Measure --fps-per-core with your model on your machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the sheet; the exit code."""
    parser = _parser()
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    demand = Demand(
        cameras=options.cameras,
        fps=options.fps,
        frame_bytes=round(options.frame_kb * 1000) if options.frame_kb else _frame_bytes(options.size),
        types=options.types,
        detections=options.detections,
        viewers=options.viewers,
        watched_streams=options.watched if options.watched is not None else min(options.viewers, options.cameras),
    )
    if demand.frame_bytes > DEFAULT_MAX_FRAME_BYTES:
        size, most = demand.frame_bytes / 1000, DEFAULT_MAX_FRAME_BYTES / 1000
        parser.error(f"a frame of {size:,.0f} kB: expected at most {most:,.0f} (MAX_FRAME_BYTES)")
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
    try:
        sheet = plan(demand, measured, layout)
    except ValueError as error:
        parser.error(str(error))
    if options.json:
        print(json.dumps(sheet.as_dict(), indent=2))
    else:
        print(text(demand, layout, sheet))
    return 0


def text(demand: Demand, layout: Layout, sheet: Sheet) -> str:
    """The sheet as it is printed."""
    by = f" (by their {sheet.nodes_by})" if sheet.nodes > 1 else ""
    rows = [
        ("frames to infer", f"{sheet.frames_s:,.0f} a second"),
        (
            "inference pods",
            f"{sheet.pods:,} of {_count(layout.pod_cores, 'core')} at a ratio of {layout.target:g} "
            f"({sheet.pods_unrounded:,.2f} before rounding up)",
        ),
        (
            "cores",
            f"{_amount(sheet.pool_cores)} for inference, {_amount(sheet.producer_cores)} for producers, "
            f"{_amount(sheet.service_cores)} for Redis, websocket servers and gateways",
        ),
        ("Redis", f"{_amount(sheet.redis_in_mb_s)} MB/s in, {_amount(sheet.redis_out_mb_s)} MB/s out: {_redis(sheet)}"),
        (
            "types",
            f"{sheet.types_needed:,}" + (", so that each fits a shard" if sheet.types_needed > demand.types else ""),
        ),
        ("viewers", f"{demand.viewers:,}: {_amount(sheet.viewer_mb_s)} MB/s"),
        ("websocket servers", f"{sheet.relay_replicas:,}"),
        ("gateways", f"{sheet.gateway_replicas:,}"),
        ("network", f"{_amount(sheet.network_mb_s)} MB/s sent by all nodes together"),
        ("nodes", f"{sheet.nodes:,} of {_count(layout.node_cores, 'core')}{by}"),
    ]
    kilobytes = demand.frame_bytes / 1000
    head = f"{_count(demand.cameras, 'camera')} of {demand.fps:g} fps, {kilobytes:g} kB a frame, "
    lines = [head + _count(demand.types, "type")]
    lines += [f"  {name:<18} {value}" for name, value in rows]
    for title, found in (
        ("What gives way on the way there, and what removes it:", sheet.bottlenecks),
        ("What comes next, up to twice as much:", sheet.next_bottlenecks),
    ):
        if found:
            lines += ["", title]
            lines += [f"  {number}. from {each.when}: {each.full}: {each.cure}" for number, each in enumerate(found, 1)]
    return "\n".join(lines)


def _redis(sheet: Sheet) -> str:
    if not sheet.brokers:
        return "1 server for queue and broker"
    return f"{_count(sheet.redis_shards, 'shard')} for the queue, {_count(sheet.brokers, 'broker')}"


def _count(number: float, noun: str) -> str:
    """`1 core`, `2 cores`, `0.5 cores`."""
    return f"{number:,g} {noun}{'' if number == 1 else 's'}" if number < 1e6 else f"{number:,.0f} {noun}s"


def _amount(value: float) -> str:
    """With two digits after the point where it is small."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def _frame_bytes(size: tuple[int, int]) -> int:
    """About 0.15 bytes a pixel: JPEG of quality 80, 4:2:0, as measured on the sample clips."""
    return round(size[0] * size[1] * 0.15)


def _parser() -> argparse.ArgumentParser:
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
    add("--frame-kb", type=_number(float, 0.1, DEFAULT_MAX_FRAME_BYTES / 1000), help="kilobytes of a frame's JPEG")
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
        default=Measured.producer_fps_per_core,
        help="frames a second one core of a producer decodes and encodes (%(default)s)",
    )
    add(
        "--shard-mb-s",
        type=_number(float, 0.1, 1e6),
        default=Measured.shard_mb_s,
        help="MB/s of one Redis process, in and out together (%(default)s)",
    )
    add(
        "--shard-frames-s",
        type=_number(float, 1, 1e7),
        default=Measured.shard_frames_s,
        help="frames a second of one Redis (%(default)s)",
    )
    add(
        "--relay-frames-s",
        type=_number(float, 1, 1e7),
        default=Measured.relay_frames_s,
        help="frames to viewers of one relay (%(default)s)",
    )
    add(
        "--gateway-mb-s",
        type=_number(float, 0.1, 1e6),
        default=Measured.gateway_mb_s,
        help="MB/s of one gateway (%(default)s)",
    )
    add(
        "--network-mb-s",
        type=_number(float, 0.1, 1e6),
        default=Measured.network_mb_s,
        help="MB/s of a node's network, each way (%(default)s)",
    )
    add("--json", action="store_true", help="print JSON")
    return parser


def _number(kind: Callable[[str], float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        try:
            value = kind(text)
        except ValueError:
            raise argparse.ArgumentTypeError(f"{text!r}: expected a number") from None
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"{text}: expected {low:,.10g} to {high:,.10g}")
        return value

    return parse


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch("([0-9]{2,5})[xX]([0-9]{2,5})", text)
    width, height = (int(found[1]), int(found[2])) if found else (0, 0)
    if not (16 <= width <= 16384 and 16 <= height <= 16384):
        raise argparse.ArgumentTypeError(f"{text!r}: expected WIDTHxHEIGHT in pixels, such as 1280x720")
    return width, height


if __name__ == "__main__":
    sys.exit(main())
