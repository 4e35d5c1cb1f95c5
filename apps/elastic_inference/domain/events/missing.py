"""Why an event has no image, as a word for metrics and as a sentence for people."""

from __future__ import annotations

from enum import StrEnum


class Missing(StrEnum):
    """Why an event has no image."""

    POD = "pod"
    LATE = "late"
    MEMORY = "memory"
    BUSY = "busy"
    RIGHTS = "rights"
    REDIS = "redis"
    HIDDEN = "hidden"
    INVALID = "invalid"


SENTENCES = {
    Missing.POD: "The pod that inferred the frame did not answer.",
    Missing.LATE: "The pod no longer had the frame when it was asked.",
    Missing.MEMORY: "The broker's Redis had no memory left for it.",
    Missing.BUSY: "Too many events wanted an image at that time.",
    Missing.RIGHTS: "The Redis users are of an older version.",
    Missing.REDIS: "Redis was unavailable.",
    Missing.HIDDEN: "The object was in no frame that could be kept.",
    Missing.INVALID: "What the pod sent is not an image.",
}
