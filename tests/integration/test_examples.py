"""doc/examples: each runs as its text says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import redis

from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.conftest import REPOSITORY
from tests.support.waiting import wait_for

EXAMPLE = REPOSITORY / "doc" / "examples" / "count_results.py"
SECRET = "pa55-of-the-reader"


def test_results_are_counted_with_the_login_that_the_text_gives(tmp_path: Path) -> None:
    found = re.search(r"^    (user analytics .*)$", EXAMPLE.read_text(), re.MULTILINE)
    assert found
    users = tmp_path / "users.acl"
    users.write_text(f"user default on nopass ~* &* +@all\n{found[1].replace('>password', f'>{SECRET}')}\n")
    with EmbeddedValkey(options=("--aclfile", str(users))) as server, redis.Redis(port=server.port) as client:
        environ = {**os.environ, "BROKER_URL": f"redis://analytics:{SECRET}@127.0.0.1:{server.port}/0"}
        with subprocess.Popen(
            [sys.executable, str(EXAMPLE), "people"],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                wait_for(lambda: client.exists(keys.results("people")), 20, "the consumer group")
                document = {"detections": [{"label": "person"}, {"label": "person"}]}
                client.xadd(keys.results("people"), {"json": json.dumps(document)})
                assert process.stdout is not None
                assert process.stdout.readline() == "{'person': 2}\n"
                shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                assert SECRET.encode() not in shown
            finally:
                process.kill()
                _, errors = process.communicate()
        assert errors == ""
        refused = redis.Redis(port=server.port, username="analytics", password=SECRET)
        for command in (("GET", "x"), ("XRANGE", keys.results("people"), "-", "+"), ("XLEN", "results_face")):
            try:
                refused.execute_command(*command)
            except redis.exceptions.NoPermissionError:
                continue
            raise AssertionError(f"{command} is allowed")
        refused.close()
