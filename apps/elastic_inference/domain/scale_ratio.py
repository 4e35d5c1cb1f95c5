"""The number that autoscalers follow, and its bounds. Pure."""

from __future__ import annotations

# Prometheus' adapter turns an infinite value into 0, and the HPA would then scale in. Nobody needs more than this.
MAX_SCALE_RATIO = 1000.0


def scale_ratio(demand: float, capacity: float) -> float:
    """Demand over capacity, in the same unit: finite, from 0 to MAX_SCALE_RATIO. 0 without a capacity or a number."""
    if not (demand > 0 and capacity > 0):  # also for NaN
        return 0.0
    return min(demand / capacity, MAX_SCALE_RATIO) if demand < float("inf") else MAX_SCALE_RATIO
