"""Manifests that several tests look at."""

from __future__ import annotations

import pytest

from tests.support.manifests import (
    CORE,
    PROJECT,
    Document,
    made,
)


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    return made(tmp_path_factory.mktemp("core") / "core.yaml", "-f", str(PROJECT / CORE), "-P", "10.244.0.0/16")


@pytest.fixture(scope="session")
def samples(tmp_path_factory: pytest.TempPathFactory) -> list[Document]:
    return made(tmp_path_factory.mktemp("samples"), "-f", str(PROJECT / "kubernetes/sample-infer"))
