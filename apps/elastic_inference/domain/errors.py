"""Every error that the package raises on purpose.

    ElasticInferenceError
    ├── SettingError           a setting (environment variable) is wrong; ends the service at start
    ├── InvalidFrameError      a frame message is unusable; carries the reason to count
    ├── StaleFrameError        a good frame has waited too long
    ├── InvalidResultError     a result message is malformed or of an unknown version
    ├── InvalidEventError      an event is malformed or of an unknown version
    ├── InvalidCountsError     the saved counts of a camera are malformed
    ├── SourceError            a camera or a file can't be opened or read
    │   └── SourceFatalError   and trying again does not help (a missing file)
    ├── ModelError             a model can't be found, loaded, or doesn't fit its adapter
    └── DownloadError          a model or clip can't be downloaded or fails its checksum

Each message is one full sentence: what failed, the value, what was expected.
"""

from __future__ import annotations

from enum import StrEnum


class DropReason(StrEnum):
    """Why a good frame was discarded: label `reason` of `ei_frames_dropped_total`."""

    QUEUE_FULL = "queue_full"
    QUEUE_MEMORY = "queue_memory"
    STALE = "stale"
    SOURCE = "source"
    FENCED = "fenced"


class InvalidReason(StrEnum):
    """Why a frame is unusable: label `reason` of `ei_frames_invalid_total`."""

    NOT_MSGPACK = "not_msgpack"
    NOT_JPEG = "not_jpeg"
    TRUNCATED = "truncated"
    EMPTY = "empty"
    TOO_LARGE = "too_large"
    NAME = "name"
    CATEGORY = "category"
    VERSION = "version"
    FIELDS = "fields"
    INFERENCE = "inference"


class ElasticInferenceError(Exception):
    """Base of all errors of this package."""


class SettingError(ElasticInferenceError):
    """A setting is wrong; names the variable, its value and what is accepted."""

    def __init__(self, name: str, value: object, expected: str) -> None:
        self.name = name
        self.value = value
        self.expected = expected
        super().__init__(f"{name}={value!r} is not accepted: {expected}")


class InvalidFrameError(ElasticInferenceError):
    """A frame message is unusable; `reason` is counted."""

    def __init__(self, reason: InvalidReason, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"invalid frame ({reason}): {detail}")


class StaleFrameError(ElasticInferenceError):
    """A good frame has waited too long in its pod."""


class InvalidResultError(ElasticInferenceError):
    """A result message is malformed or of an unknown version."""


class InvalidEventError(ElasticInferenceError):
    """An event is malformed or of an unknown version."""


class InvalidCountsError(ElasticInferenceError):
    """The saved counts of a camera are malformed."""


class SourceError(ElasticInferenceError):
    """A source can't be opened or read now, but may work later."""


class SourceFatalError(SourceError):
    """A source can't be opened or read as configured; trying again does not help."""


class ModelError(ElasticInferenceError):
    """A model is missing, broken, or does not fit its adapter."""


class DownloadError(ElasticInferenceError):
    """A file can't be downloaded, or its size or checksum is wrong."""
