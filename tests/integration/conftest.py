"""Fixtures that several files of this folder share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.redis_logins import Logins, server_with_users


@pytest.fixture(scope="module")
def locked_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedValkey]:
    with server_with_users(tmp_path_factory.mktemp("acl") / "users.acl") as server:
        yield server


@pytest.fixture
def logins(locked_server: EmbeddedValkey) -> Iterator[Logins]:
    with Logins(locked_server) as made:
        yield made
