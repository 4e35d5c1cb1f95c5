"""The firewall rule of doc/examples, in a network of its own: one address cannot take all connections of Redis."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY, missing_tool

RULES = REPOSITORY / "doc" / "examples" / "redis-connections.nft"
# Prints how many connections each address gets: 260 from the first, then 5 each from others.
_CLIENTS = r"""
import socket
servers = [socket.create_server(("0.0.0.0", 31003), backlog=1000)]
servers.append(socket.create_server(("::", 31003), family=socket.AF_INET6, backlog=1000))
held = []

def opened(source, target, count):
    for number in range(count):
        try:
            held.append(socket.create_connection((target, 31003), 1, (source, 0)))
        except TimeoutError:
            return number
    return count

for source, count in (("127.0.0.2", 260), ("127.0.0.3", 5)):
    print(opened(source, "127.0.0.1", count))
for source, count in (("fd00::2", 260), ("fd00::3", 5), ("fd01::2", 5)):
    print(opened(source, "fd00::1", count))
"""
_ADDRESSES = ("fd00::1", "fd00::2", "fd00::3", "fd01::2")


def test_one_address_gets_200_connections_and_others_still_connect() -> None:
    if missing := [tool for tool in ("nft", "ip", "unshare") if shutil.which(tool) is None]:
        missing_tool(", ".join(missing))
    if os.geteuid() or subprocess.run(["unshare", "-n", "nft", "add", "table", "inet", "x"], check=False).returncode:
        pytest.skip("a network of its own with nft needs root")
    addresses = " && ".join(f"ip -6 addr add {address}/128 dev lo nodad" for address in _ADDRESSES)
    command = f'ip link set lo up && {addresses} && nft -f "$0" && exec "$1" -c "$2"'
    run = subprocess.run(
        ["unshare", "-n", "sh", "-c", command, str(RULES), sys.executable, _CLIENTS],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert run.stdout.split() == ["200", "5", "200", "0", "5"]
