"""A Redis with the shipped users, and clients for each of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from redis.exceptions import NoPermissionError, RedisError

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.adapters.frame_queue import (
    KnownTypes,
    PushLease,
    QueueConsumer,
    QueueProducer,
    QueueReader,
    Sweeper,
)
from elastic_inference.adapters.redis_connection import connect
from elastic_inference.adapters.stream_broker import ResultPublisher
from elastic_inference.base import config
from elastic_inference.base.config import Secret
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.frame import Frame
from elastic_inference.domain.sequence import Tombstone
from tests.support.jpeg import tiny_jpeg
from tests.support.redis_commands import Command
from tests.support.redis_names import NAME, SITE, STREAM, TYPE, YARD
from tests.support.results import make_result

POOL_USERS = ("source", "gateway", "housekeeping")
READING_USERS = ("scaler", "reader")
PASSWORDS = {user: f"secret of {user}" for user in (*USERS, SITE, YARD)}
RULES = config.QueueRules()
# For tests that push many frames before they pop them.
PATIENT = config.QueueRules(max_frame_age_s=60)


class Logins:
    """A server with the shipped users and one frame, one result, one stream and one pod in it."""

    def __init__(self, server: EmbeddedValkey) -> None:
        self.server = server
        self._open: list[Any] = []

    def __enter__(self) -> Logins:
        admin = self.client("admin")
        admin.flushall()
        self.consumer().load_scripts()
        self.producer(NAME).push(frame(NAME))
        self.publish()
        return self

    def __exit__(self, *_: object) -> None:
        for each in reversed(self._open):
            each.close()

    def target(self, user: str) -> config.RedisTarget:
        return config.RedisTarget(url=Secret(self.server.url), username=user, password=Secret(PASSWORDS[user]))

    def client(self, user: str) -> redis.Redis:
        return self._keep(connect(self.target(user), name=f"test-{user}"))

    def producer(
        self, name: str, user: str = "camera", infer_type: str = TYPE, rules: config.QueueRules = RULES
    ) -> QueueProducer:
        return self._keep(QueueProducer(self.client(user), infer_type, name, rules))

    def leased(self, name: str, epoch: int, user: str = "source") -> QueueProducer:
        return self._keep(QueueProducer(self.client(user), TYPE, name, RULES, PushLease(epoch)))

    def consumer(self, infer_type: str = TYPE, rules: config.QueueRules = RULES) -> QueueConsumer:
        return self._keep(QueueConsumer(self.client("worker"), infer_type, "pod-1", rules))

    def publisher(self) -> ResultPublisher:
        return self._keep(ResultPublisher(self.client("worker"), TYPE, "pod-1", 100))

    def publish(self) -> None:
        publisher = self.publisher()
        publisher.publish([(make_result(stream=STREAM), tiny_jpeg())], [Tombstone(STREAM, 2, "invalid")])
        publisher.report_worker(1.0, 0.0, 1.0, capacity_fps=1.0, device="CPU", model="m", precision="FP32")

    async def sweep(self) -> None:
        """Housekeeping's look at all keys, while only TYPE is served."""
        reader = QueueReader(self.target("viewer"))
        await Sweeper(reader.clients, RULES).sweep([TYPE])
        await reader.close()

    async def served_types(self, with_pods: Sequence[str]) -> Sequence[str]:
        """The types that housekeeping and gateway serve."""
        reader = QueueReader(self.target("viewer"))
        types = KnownTypes(reader)
        types.prefer(with_pods)
        await types.refresh()
        await reader.close()
        return types.names

    def refuses(self, user: str, *groups: list[Command]) -> None:
        """Fails unless Redis refuses each command for lack of rights, and not for another reason."""
        client = self.client(user)
        for command in (each for group in groups for each in group):
            try:
                client.execute_command(*command)
            except NoPermissionError:
                continue
            except RedisError as error:
                pytest.fail(f"{user} may run {command}: {error}")
            pytest.fail(f"{user} may run {command}")

    def _keep(self, end: Any) -> Any:
        self._open.append(end)
        return end


def frame(name: str, infer_type: str = TYPE) -> Frame:
    return Frame(name, infer_type, tiny_jpeg(), 1)


def halts(logins: Logins, user: str, infer_type: str) -> None:
    """With a tenth of a million values, for longer than any usual command takes."""
    admin = logins.client("admin")
    admin.slowlog_reset()
    logins.client(user).zadd(keys.sources(infer_type), {str(number): number for number in range(100_000)})
    (took_us,) = (each["duration"] for each in admin.slowlog_get(8) if each["command"].startswith(b"ZADD"))
    admin.unlink(keys.sources(infer_type))
    assert took_us > 10_000


def line_of_the_site(user: str = SITE, password: str = "") -> str:
    """A user that doc/security_sites.md proposes for a site, with its password's hash."""
    document = (Path(__file__).parents[2] / "doc" / "security_sites.md").read_text()
    (line,) = re.findall(rf"^user {user} on .*$", document, re.MULTILINE)
    digest = hashlib.sha256((password or PASSWORDS[user]).encode()).hexdigest()
    return str(line).replace("<sha256 of the password>", digest)


def server_with_users(acl_file: Path) -> EmbeddedValkey:
    """A server with the shipped users and those of sites, whose rules are written to `acl_file`."""
    sites = f"{line_of_the_site()}\n{line_of_the_site(YARD)}\n"
    acl_file.write_text(render_acl({user: PASSWORDS[user] for user in USERS}) + sites)
    return EmbeddedValkey(options=("--aclfile", str(acl_file), "--busy-reply-threshold", "100"))
