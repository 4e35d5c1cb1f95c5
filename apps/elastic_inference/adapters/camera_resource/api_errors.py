"""What errors of the API server mean. Used by `kubernetes_store` and `camera_secrets`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import httpx2
from lightkube import ApiError

from elastic_inference.adapters.camera_resource.api_transport import ApiAnswerError
from elastic_inference.domain.camera_errors import CameraRefusal

# Statuses that concern one object, not the API server: a bad request, a missing object, a conflict.
OF_ONE_OBJECT = frozenset((400, 404, 409, 413, 422))
API_ERRORS = (ApiError, httpx2.HTTPError, OSError)


@contextlib.contextmanager
def refusals() -> Iterator[None]:
    """Turns an error of the API server into a CameraRefusal with its own sentence."""
    try:
        yield
    except API_ERRORS as error:
        code = code_of(error) if isinstance(error, ApiError) else 503
        status = {400: 400, 404: 404, 409: 412, 422: 400}.get(code, 503)
        raise CameraRefusal(status, explain(error)) from None


def code_of(error: ApiError) -> int:
    """The HTTP status of an API error. Inside a watch, it is in the error's document only."""
    response: httpx2.Response | None = error.response
    return response.status_code if response is not None else int(error.status.code or 500)


def explain(error: BaseException) -> str:
    """An error of the API server as a sentence for people."""
    if isinstance(error, ApiError):
        code = code_of(error)
        if code == 403:
            return f"The API server forbids it: apply the core's manifest again. {str(error.status.message)[:200]}"
        if code == 404:
            return "The cluster does not know cameras.elastic-inference.io: apply the core's manifest again."
        return f"The API server answers {code}: {str(error.status.message)[:200]}"
    if isinstance(error, ApiAnswerError):
        return f"The API server {error}."
    return f"The API server does not answer ({' '.join(str(error).split())[:200] or type(error).__name__})."


def is_expired(error: BaseException) -> bool:
    """Whether a watch has to start again with a new list."""
    if isinstance(error, ApiError):
        return code_of(error) == 410
    return isinstance(error, httpx2.ReadTimeout | httpx2.RemoteProtocolError)
