"""doc/examples: each runs as its text says."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import redis

from elastic_inference.adapters.acl import USERS, render_acl
from elastic_inference.commands.embedded_valkey import EmbeddedValkey
from elastic_inference.domain import keys
from tests.conftest import REPOSITORY
from tests.support.waiting import wait_for

EXAMPLE = REPOSITORY / "doc" / "examples" / "count_results.py"
SECRET = "pa55-of-the-reader"


def test_results_are_counted_with_the_readers_login(tmp_path: Path) -> None:
    users = tmp_path / "users.acl"
    users.write_text(render_acl({**dict.fromkeys(USERS, "other"), "reader": SECRET}))
    with (
        EmbeddedValkey(options=("--aclfile", str(users))) as server,
        redis.Redis(port=server.port, username="admin", password="other") as admin,
    ):
        environ = {**os.environ, "BROKER_URL": f"redis://reader:{SECRET}@127.0.0.1:{server.port}/0"}
        with subprocess.Popen(
            [sys.executable, str(EXAMPLE), "people"],
            env=environ,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            try:
                wait_for(lambda: admin.exists(keys.results("people")), 20, "the consumer group")
                document = {"detections": [{"label": "person"}, {"label": "person"}]}
                admin.xadd(keys.results("people"), {"json": json.dumps(document)})
                assert process.stdout is not None
                assert process.stdout.readline() == "{'person': 2}\n"
                shown = Path(f"/proc/{process.pid}/cmdline").read_bytes()
                assert SECRET.encode() not in shown
            finally:
                process.kill()
                _, errors = process.communicate()
        assert errors == ""
