"""Hosts and ports of a Redis URL, including the default ports that it leaves out."""

import pytest

from elastic_inference.commands.manifests.redis_address import addresses, ports


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("", []),
        ("redis://r.example", ["r.example:6379"]),
        ("rediss://r.example:6380/0?db=2", ["r.example:6380"]),
        ("redis://[fd00::6379]/0", ["[fd00::6379]:6379"]),
        ("redis+sentinel://a,b:26380/main/0", ["a:26379", "b:26380"]),
        ("rediss+cluster://a:7000,b", ["a:7000", "b:6379"]),
    ],
)
def test_a_server_without_a_port_gets_its_kinds_usual_one(url: str, expected: list[str]) -> None:
    assert addresses(url) == expected


def test_pods_reach_the_master_behind_sentinels_too() -> None:
    assert ports("redis+sentinel://a,b/main") == ["26379", "6379"]
    assert ports("redis+cluster://a:7000,b:7001") == ["7000", "7001"]
