"""The body of error responses. Loaded with the first error, since it takes longer to load than most modules."""

from __future__ import annotations

from collections.abc import Mapping

from elastic_inference.domain.rest import Error, ErrorCode, ErrorDetail, document_json

CODES = {
    400: ErrorCode.BAD_REQUEST,
    401: ErrorCode.UNAUTHORIZED,
    403: ErrorCode.FORBIDDEN,
    404: ErrorCode.NOT_FOUND,
    405: ErrorCode.METHOD_NOT_ALLOWED,
    409: ErrorCode.CONFLICT,
    412: ErrorCode.PRECONDITION_FAILED,
    426: ErrorCode.BAD_REQUEST,
    429: ErrorCode.TOO_MANY,
    502: ErrorCode.BAD_GATEWAY,
    503: ErrorCode.UNAVAILABLE,
    504: ErrorCode.NO_FRAME,
}


def error_json(status: int, message: str, fields: Mapping[str, str] | None = None) -> bytes:
    """The body: the code of the HTTP status, a sentence for people, and one for each wrong field."""
    code = CODES.get(status, ErrorCode.INTERNAL if status >= 500 else ErrorCode.BAD_REQUEST)
    return document_json(Error(ErrorDetail(code, message, dict(fields or {}))))
