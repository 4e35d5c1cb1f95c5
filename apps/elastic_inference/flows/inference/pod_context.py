"""What the parts of a pod share."""

from __future__ import annotations

from dataclasses import dataclass

from elastic_inference.base.lifecycle import Lifecycle
from elastic_inference.flows.inference.frame_account import FrameAccount
from elastic_inference.flows.inference.load_meter import LoadMeter
from elastic_inference.flows.inference.task_queue import TaskQueue


@dataclass(frozen=True, slots=True)
class PodContext:
    """Made by the `pipeline`, and given to each part of it."""

    tasks: TaskQueue
    meter: LoadMeter
    account: FrameAccount
    lifecycle: Lifecycle
