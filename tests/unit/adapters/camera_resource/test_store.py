"""What errors of the API server mean, those inside a watch included, which have no HTTP answer."""

from __future__ import annotations

from lightkube.core.exceptions import ApiError
from lightkube.models.meta_v1 import Status

from elastic_inference.adapters.camera_resource.store import explain


def test_an_error_inside_a_watch_is_explained_too() -> None:
    error = ApiError(status=Status(code=500, message="etcd is slow"))
    assert explain(error) == "The API server answers 500: etcd is slow"
