"""The routes of `/api/types`, included in `routes`."""

from __future__ import annotations

from typing import Any

from elastic_inference.domain.model_views import TypeModel
from elastic_inference.domain.model_wish import CanaryChoice, ModelChoice
from elastic_inference.flows.gateway import api_models

_ERRORS = {
    403: "The token is not that of an admin of all cameras; or the request comes from another site.",
    404: "No pod of this type reports.",
    503: "Redis is unavailable, or its users are of an older version.",
}
_WRONG = "The request is wrong; the message names the field."
_NO_CANARY = "There is no canary."
_TYPE = "/api/types/{type}"
_MODEL, _CANARY = f"{_TYPE}/model", f"{_TYPE}/canary"
_STATE = "What was asked for, and what each pod runs now; ETag is the revision of what was asked for."
_CHANGED = "Somebody has changed the model or the canary since."


def _row(path: str, handler: type, operation: str, summary: str, **more: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    change = "method" in more
    more |= {"if_match": change, "errors": {**_ERRORS, **({412: _CHANGED} if change else {}), **more.get("errors", {})}}
    return (path, handler, operation, summary, _STATE, TypeModel), more


# The fields of `Route`: path, handler, operation, summary, success, returns; then others by name.
ROWS = (
    _row(_MODEL, api_models.ModelHandler, "getModel", "Which model the pods of a type run, and their canary."),
    _row(
        _MODEL,
        api_models.ModelHandler,
        "changeModel",
        "All pods of the type change to another model, without a gap, if it does not fail. Ends a canary.",
        method="put",
        accepts=ModelChoice,
        errors={400: _WRONG},
    ),
    _row(
        _MODEL,
        api_models.ModelHandler,
        "resetModel",
        "All pods of the type change to the model of their settings. Ends a canary.",
        method="delete",
    ),
    _row(
        _CANARY,
        api_models.CanaryHandler,
        "tryModel",
        "All pods of the type infer samples of their frames with a second model too.",
        method="put",
        accepts=CanaryChoice,
        errors={400: _WRONG},
    ),
    _row(
        _CANARY,
        api_models.CanaryHandler,
        "dropCanary",
        "Ends the canary.",
        method="delete",
        errors={409: _NO_CANARY},
    ),
    _row(
        f"{_CANARY}/promote",
        api_models.PromoteHandler,
        "promoteCanary",
        "All pods of the type change to the canary's model.",
        method="post",
        errors={409: f"{_NO_CANARY} Or it has failed."},
    ),
)
