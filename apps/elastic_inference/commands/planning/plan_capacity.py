"""`ei-plan-capacity`: the pods, cores, Redis shards and relays that cameras need, as text or JSON."""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import fields
from typing import Any, TypeVar

from elastic_inference.commands.planning.capacity import plan
from elastic_inference.commands.planning.sheet import Demand, Measured, NodePlan, RedisRates, Sheet
from elastic_inference.domain.frame_limits import DEFAULT_MAX_FRAME_BYTES

Inputs = TypeVar("Inputs", Demand, RedisRates, Measured, NodePlan)

EPILOG = """\
example, with the pod's figure from `make bench`:
  plan-capacity --cameras 64 --fps 15 --fps-per-core 110 --frame-kb 50

The formulas are in doc/capacity.md. Measure --fps-per-core with your model on your machine."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Prints the sheet; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(sys.argv[1:] if arguments is None else arguments)
    demand = _chosen(
        Demand,
        options,
        frame_bytes=round(options.frame_kb * 1000) if options.frame_kb else _frame_bytes(options.size),
        watched_streams=options.watched if options.watched is not None else min(options.viewers, options.cameras),
    )
    if demand.frame_bytes > DEFAULT_MAX_FRAME_BYTES:
        size, limit = demand.frame_bytes / 1000, DEFAULT_MAX_FRAME_BYTES / 1000
        parser.error(f"a frame of {size:,.0f} kB: expected at most {limit:,.0f} (MAX_FRAME_BYTES)")
    measured = _chosen(Measured, options, redis=_chosen(RedisRates, options))
    layout = _chosen(NodePlan, options)
    try:
        sheet = plan(demand, measured, layout)
    except ValueError as error:
        parser.error(str(error))
    if options.json:
        print(json.dumps(sheet.as_dict(), indent=2))
    else:
        print(text(demand, layout, sheet))
    return 0


def _chosen(kind: type[Inputs], options: argparse.Namespace, **given: Any) -> Inputs:
    """Inputs of this kind: each field is an option of the same name, or given."""
    names = {each.name for each in fields(kind)} - given.keys()
    values = {name: getattr(options, name) for name in names}
    return kind(**values, **given)


def text(demand: Demand, layout: NodePlan, sheet: Sheet) -> str:
    """The sheet as it is printed."""
    by = f" (by their {sheet.nodes_by})" if sheet.nodes > 1 else ""
    rows = [
        ("frames to infer", f"{sheet.frames_s:,.0f} per second"),
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
        (
            "camera pool",
            f"{_count(sheet.source_workers, 'source worker')} of {_count(layout.source_cores, 'core')}, "
            f"which use {_amount(sheet.source_cpu)}; instead of producers",
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
        ("Bottlenecks up to this load, and their fixes:", sheet.bottlenecks),
        ("Bottlenecks up to twice this load:", sheet.next_bottlenecks),
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
    """The number, with three significant digits if it is small."""
    return f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"


def _frame_bytes(size: tuple[int, int]) -> int:
    """About 0.15 bytes per pixel: JPEG of quality 80, 4:2:0, as measured on the sample clips."""
    return round(size[0] * size[1] * 0.15)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "plan-capacity",
        description="From cameras to pods, cores, Redis bandwidth and shards, network and relay replicas.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("--cameras", type=_number(int, 1, 10_000_000), required=True, help="number of cameras")
    add("--fps-per-core", type=_number(float, 0.01, 1e6), required=True, help="fps that a pod infers per core")
    add("--size", type=_size, default=(768, 432), metavar="WxH", help="frame size (768x432), without --frame-kb")
    add("--frame-kb", type=_number(float, 0.1, DEFAULT_MAX_FRAME_BYTES / 1000), help="kB of a frame's JPEG")
    add("--viewers", type=_number(int, 0, 10_000_000), default=Demand.viewers, help="open websockets (%(default)s)")
    add("--watched", type=_number(int, 0, 10_000_000), help="streams that have a viewer (as many as viewers)")
    add("--types", type=_number(int, 1, 1000), default=Demand.types, help="types that get each frame (%(default)s)")
    for name, low, high, default, text in _RATES:
        add(name, type=_number(float, low, high), default=default, help=f"{text} (%(default)s)")
    add("--json", action="store_true", help="print JSON")
    return parser


# option, lowest and highest value, default, help
_RATES = (
    ("--fps", 0.01, 1000, Demand.fps, "fps of a camera"),
    ("--detections", 0, 1000, Demand.detections, "detections per frame"),
    ("--pod-cores", 0.05, 1000, NodePlan.pod_cores, "cores of an inference pod"),
    ("--node-cores", 1, 1000, NodePlan.node_cores, "cores of a node"),
    ("--target", 0.05, 1, NodePlan.target, "the autoscaler's target for the ratio"),
    ("--producer-fps-per-core", 0.1, 1e6, Measured.producer_fps_per_core, "fps that a producer encodes per core"),
    ("--source-ms", 0.01, 1e4, Measured.source_ms, "CPU milliseconds of a source worker for a frame"),
    ("--source-cores", 0.05, 1000, NodePlan.source_cores, "cores of a source worker"),
    ("--shard-mb-s", 0.1, 1e6, RedisRates.shard_mb_s, "MB/s of one Redis process, in and out together"),
    ("--shard-frames-s", 1, 1e7, RedisRates.shard_frames_s, "frames per second of one Redis process"),
    ("--relay-frames-s", 1, 1e7, Measured.relay_frames_s, "frames per second to the viewers of one websocket server"),
    ("--gateway-mb-s", 0.1, 1e6, Measured.gateway_mb_s, "MB/s of one gateway"),
    ("--network-mb-s", 0.1, 1e6, Measured.network_mb_s, "MB/s of a node's network, each way"),
)


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
