"""All targets by name."""

from __future__ import annotations

from tests.fuzz import (
    camera_targets,
    event_image_targets,
    event_targets,
    gateway_targets,
    http_targets,
    image_targets,
    message_targets,
    redis_targets,
    scaler_targets,
    text_targets,
)

_MODULES = (
    *(camera_targets, event_targets, event_image_targets, message_targets, image_targets, http_targets),
    *(gateway_targets, redis_targets, scaler_targets, text_targets),
)
TARGETS = {target.name: target for module in _MODULES for target in module.TARGETS}
