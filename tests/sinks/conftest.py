"""A broker's Redis for each test, as the tests of the other sinks have it."""

from tests.integration.deliver.conftest import client, server

__all__ = ["client", "server"]
