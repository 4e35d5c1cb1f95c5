"""A subscriber that stops reading is disconnected by the server's limit, and does not fill the memory of the others."""

from __future__ import annotations

import socket

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from tests.support.waiting import wait_for

# Over 16 KiB Valkey 9 refers to a message instead of copying it.
MESSAGE_BYTES = 200_000
MESSAGES = 600


def test_a_frozen_subscriber_is_disconnected() -> None:
    with EmbeddedValkey() as server, redis.Redis(port=server.port) as client, socket.socket() as frozen:
        frozen.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 16 * 1024)
        frozen.connect(("127.0.0.1", server.port))
        frozen.sendall(b"SUBSCRIBE frames\r\n")
        wait_for(lambda: dict(client.pubsub_numsub("frames"))[b"frames"] == 1, what="the subscription")
        highest = 0
        for number in range(MESSAGES):
            reached = client.publish("frames", b"%06d" % number + bytes(MESSAGE_BYTES))
            if number % 20 == 0:
                highest = max(highest, client.info("memory")["used_memory"])
        assert reached == 0, "120 MB were published, and the limit is 64 MB"
        assert highest < 100 * 1024 * 1024
