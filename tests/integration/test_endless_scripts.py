"""What doc/security.md says of logins that load scripts: an endless one that has written halts Redis for good."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.exceptions import NoPermissionError, RedisError, ResponseError

from elastic_inference.adapters.acl import USERS
from elastic_inference.domain import keys
from tests.support.redis_logins import Logins, server_with_users
from tests.support.redis_names import NAME, SITE, TYPE
from tests.support.waiting import wait_for

DOCUMENT = Path(__file__).parents[2] / "doc" / "security.md"
# Its key is not in KEYS, since the user would need the right to read it.
ENDLESS = "redis.call('SET', ARGV[1], 'x') while true do end"


def users_with_scripts() -> list[str]:
    """Those that the document names."""
    (said,) = re.findall(
        r"\*\*Our services' logins run Lua too\.\*\*(.*?)\s+load\s+the\s+project's", DOCUMENT.read_text(), re.S
    )
    return re.findall(r"`(\w+)`", said)


@pytest.fixture
def logins(tmp_path: Path) -> Iterator[Logins]:
    with server_with_users(tmp_path / "users.acl") as server, Logins(server) as found:
        yield found


def is_busy(admin: redis.Redis) -> bool:
    try:
        admin.ping()
    except ResponseError as error:
        return "BUSY" in str(error)
    return False


@pytest.mark.parametrize("user", users_with_scripts())
def test_an_endless_script_that_has_written_ends_with_redis_alone(user: str, logins: Logins) -> None:
    client, admin = logins.client(user), logins.client("admin")
    sha = client.script_load(ENDLESS)

    def run() -> None:
        with pytest.raises(RedisError):
            client.evalsha(sha, 0, "events:x" if user == "events" else keys.frame(TYPE, NAME, "x"))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_for(lambda: is_busy(admin), what="Redis to be busy")
        with pytest.raises(ResponseError, match="UNKILLABLE"):
            admin.script_kill()
    finally:
        logins.server.kill()
        thread.join(20)
    logins.server.start()
    assert logins.client("admin").ping()


def test_no_other_login_but_admin_and_scaler_loads_a_script(logins: Logins) -> None:
    """`scaler` may send one, which cannot write; it is tried with its own sentences."""
    for user in {*USERS, SITE} - {*users_with_scripts(), "admin"}:
        with pytest.raises(NoPermissionError):
            logins.client(user).script_load("return 1")
