"""Pushes into a server that is out of memory: what it refuses is counted, and nothing of it stays in the queue."""

from __future__ import annotations

import pytest
import redis
from redis.exceptions import OutOfMemoryError

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.adapters.frame_queue import QueueProducer
from elastic_inference.adapters.frame_queue.push_request import PushPacker
from elastic_inference.adapters.frame_queue.scripts import script
from elastic_inference.adapters.redis_pipeline import PipelineConnection
from elastic_inference.base import config
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from elastic_inference.domain.errors import DropReason
from elastic_inference.domain.frame import Frame
from tests.support.jpeg import tiny_jpeg
from tests.support.queue_bench import TYPE, QueueBench
from tests.support.waiting import wait_for


def test_out_of_memory_is_a_counted_drop_and_pops_continue() -> None:
    with EmbeddedValkey(options=("--maxmemory", "4mb")) as server, QueueBench(server) as bench:
        taken = refused = 0
        for index in range(40):
            frame = Frame(f"cam-{index}", TYPE, tiny_jpeg(padding=200_000), seq=1)
            outcome = bench.producer(f"cam-{index}").push(frame)
            assert outcome.frames + outcome.dropped.get(DropReason.QUEUE_MEMORY, 0) == 1
            taken += outcome.frames
            refused += not outcome.pushed
        bench.producer("cam-0").report_source("live", 1, 0, 0)
        assert taken
        assert refused
        # Frames that Redis has refused are not in the queue, though the refusal frees memory for their entries.
        assert bench.frame_keys() == taken
        bench.pushed = taken
        assert bench.drain() == taken
        bench.check_account()
        # The server frees its clients' buffers some time later.
        wait_for(
            lambda: bench.producer("cam-0").push(Frame("cam-0", TYPE, tiny_jpeg())).pushed, what="a push that succeeds"
        )


@pytest.mark.parametrize("leased", [False, True])
def test_an_entry_without_its_frame_is_refused_as_out_of_memory(bench: QueueBench, leased: bool) -> None:
    """Redis refuses the first SET of a pipeline and accepts the rest: nothing of this push stays, nothing is lost."""
    bench.redis.script_load(script("fenced_push").text)
    packer = PushPacker(TYPE, "cam-1", config.QueueRules(), leased=leased)
    request = packer.pack([(b"re", b"fused"), (b"", b"kept")], (1, 1, 2, 60_000, -1) if leased else ())
    bench.redis.set(request.frame_keys[1], b"kept")
    (reply,) = PipelineConnection(bench.redis).exchange_packed([request.enter], 1)
    assert isinstance(reply, OutOfMemoryError), reply
    assert bench.redis.llen(keys.waiting(TYPE, "cam-1")) == bench.redis.llen(keys.tokens(TYPE)) == 0


def test_a_camera_with_the_rights_of_before_still_pushes(valkey: EmbeddedValkey) -> None:
    """An older users.acl does not allow EXISTS."""
    with QueueBench(valkey) as bench:
        users = render_acl(dict.fromkeys(USERS, "x")).splitlines()
        (rights,) = (line.split()[2:] for line in users if line.startswith("user camera "))
        assert "+exists" in rights
        bench.redis.execute_command("ACL", "SETUSER", "old", *(word for word in rights if word != "+exists"))
        try:
            with redis.Redis(port=valkey.port, username="old", password="x") as client:
                assert QueueProducer(client, TYPE, "cam-1", bench.rules).push(Frame("cam-1", TYPE, tiny_jpeg())).pushed
        finally:
            bench.redis.acl_deluser("old")
        assert bench.drain() == 1
