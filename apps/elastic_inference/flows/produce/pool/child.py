"""A child process of the source worker: reads, encodes and pushes the cameras that the worker gives it.

Started by `child_process` as `python -m …child <socket> <crash file>`, both file descriptors. It ends when the worker
closes the socket.
"""

from __future__ import annotations

import faulthandler
import gc
import logging
import os
import select
import signal
import socket
import sys
import time

from prometheus_client import CollectorRegistry
from pydantic import ValidationError

from elastic_inference.adapters.frame_queue import PushLease
from elastic_inference.base import config
from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.base.log import set_up_logging
from elastic_inference.base.memory import keep_freed_memory
from elastic_inference.domain.camera import CameraSpec
from elastic_inference.flows.produce.camera_plan import spec_plan
from elastic_inference.flows.produce.pool.channel import Channel, Message
from elastic_inference.flows.produce.queue_sink import Permit
from elastic_inference.flows.produce.stream import ProducerStream
from elastic_inference.flows.produce.stream_manager import TICK_S, StreamManager

log = logging.getLogger(__name__)
REPORT_EVERY_S = 1.0
# Arenas of malloc. With one for each thread, each additional 1080p camera took 7 MB more.
ARENAS = 2
# FFmpeg keeps a decoder's images for as long as it is open. Among malloc's other blocks they leave gaps, 1 MB for a
# camera of 720p.
LARGE_BLOCK_BYTES = 1024 * 1024


class CameraProcess:
    """Follows the worker's messages, and reports every second and on each change of a camera's state."""

    def __init__(self, settings: config.CameraSettings, channel: Channel) -> None:
        self._settings = settings
        self._channel = channel
        self._lifecycle = Lifecycle("camera process")
        self._registry = CollectorRegistry()
        self._manager = StreamManager(settings, self._lifecycle, self._registry, "cameras")
        self._permits: dict[str, Permit] = {}
        self._states: dict[str, object] = {}
        self._next_tick = self._next_report = 0.0

    def run(self) -> int:
        """Runs until the worker closes the channel; returns the exit code."""
        poll = select.poll()
        poll.register(self._channel.fileno(), select.POLLIN)
        while not self._lifecycle.stopping:
            now = time.monotonic()
            poll.modify(self._channel.fileno(), select.POLLIN | (select.POLLOUT if self._channel.behind else 0))
            ready = poll.poll(max(0.0, self._next_tick - now) * 1000)
            self._channel.flush()
            if ready and ready[0][1] != select.POLLOUT:
                messages = self._channel.receive()
                if messages is None:
                    break
                for message in messages:
                    self._follow(message)
            if time.monotonic() >= self._next_tick:
                self._next_tick = time.monotonic() + TICK_S
                self._manager.tick()
                self._report()
        self._manager.close()
        return 1 if self._lifecycle.failure else 0

    def _follow(self, message: Message) -> None:
        match message["op"]:
            case "set":
                self._set(message)
            case "remove":
                self._permits.pop(message["name"], None)
                self._manager.remove(message["name"])
            case "lease":
                for name, until in message["until"].items():
                    if permit := self._permits.get(name):
                        permit.until = until
            case "metrics":
                self._channel.send({"op": "metrics", "id": message["id"], "families": families(self._registry)})

    def _set(self, message: Message) -> None:
        try:
            spec = CameraSpec.model_validate(message["spec"])
        except ValidationError as error:
            log.error("a camera's specification can't be read: %s", error)
            return
        permit = self._permits.setdefault(spec.name, Permit(lease=PushLease(message["epoch"])))
        if permit.lease is not None:
            permit.lease.epoch = message["epoch"]
        permit.until = message["until"]
        self._manager.put(spec_plan(spec, self._settings), permit)

    def _report(self) -> None:
        if self._channel.behind:
            return  # the worker does not read now: it gets newer facts later
        now = time.monotonic()
        streams = self._manager.streams()
        states = {
            name: (stream.report.state, stream.reason, stream.note, stream.opening, stream.failures, self._fenced(name))
            for name, stream in streams.items()
        }
        if now < self._next_report and states == self._states:
            return
        self._next_report, self._states = now + REPORT_EVERY_S, dict(states)
        cameras = {name: {**_facts(stream), "fenced": self._fenced(name)} for name, stream in streams.items()}
        self._channel.send({"op": "report", "cpu_s": time.process_time(), "cameras": cameras})

    def _fenced(self, name: str) -> int:
        """The epoch with which the queue has refused its frames, else 0."""
        permit = self._permits.get(name)
        lease = permit.lease if permit is not None else None
        return lease.fenced_by if lease is not None and lease.fenced else 0


def families(registry: CollectorRegistry) -> list[Message]:
    """All metrics, for another process."""
    return [
        {
            "name": family.name,
            "help": family.documentation,
            "type": family.type,
            "samples": [(sample.name, sample.labels, sample.value) for sample in family.samples],
        }
        for family in registry.collect()
    ]


def _facts(stream: ProducerStream) -> Message:
    width, height = stream.size or (None, None)
    return {
        "state": stream.report.state.value,
        "reason": stream.reason,
        "note": stream.note,
        "fps": round(stream.report.fps, 2),
        "reconnects": stream.report.reconnects,
        "failures": stream.failures,
        "cpu_s": round(stream.cpu_s, 4),
        "width": width,
        "height": height,
        "frame_ms": stream.frame_ts and round(stream.frame_ts * 1000),
        "opening": stream.opening,
    }


def main(arguments: list[str]) -> int:
    """Runs a child process; returns the exit code."""
    # A terminal sends Ctrl-C to all processes. The worker decides when its children end.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    sock, crash_file = socket.socket(fileno=int(arguments[0])), int(arguments[1])
    faulthandler.enable(crash_file, all_threads=False)
    settings = config.load(config.CameraSettings, os.environ)
    set_up_logging(settings.log_level, settings.log_format)
    keep_freed_memory(arenas=ARENAS, block_bytes=LARGE_BLOCK_BYTES)
    gc.freeze()
    return CameraProcess(settings, Channel(sock)).run()


if __name__ == "__main__":
    code = main(sys.argv[1:])
    logging.shutdown()
    # Threads that hang in a library would keep the process from ending.
    os._exit(code)
