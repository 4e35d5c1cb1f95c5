"""The error that stops the generator: one line that says what the user has to change."""

from __future__ import annotations

from elastic_inference.domain.errors import ElasticInferenceError


class ManifestError(ElasticInferenceError):
    """An option, a setting or a template is wrong: says which, its value or its line, and what is expected."""
