"""What stops the generator: one line for the user, who has to change something."""

from __future__ import annotations

from elastic_inference.domain.errors import ElasticInferenceError


class ManifestError(ElasticInferenceError):
    """An option, a setting or a template is wrong: says which, its value or its line, and what is expected."""
