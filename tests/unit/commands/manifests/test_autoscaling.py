"""What the autoscalers' templates get about Redis and CPU limits."""

import pytest

from elastic_inference.commands.manifests.autoscaling import cpu_target, keda_redis
from elastic_inference.commands.manifests.errors import ManifestError
from elastic_inference.commands.manifests.options import parse_arguments

INSIDE = "redis://ei-redis-svc:6379/0"


def options(*arguments: str):  # type: ignore[no-untyped-def]
    return parse_arguments(["-r", "registry.example", "-f", "x", *arguments])


def test_keda_asks_the_clusters_redis_by_its_full_name() -> None:
    values = keda_redis(options("--set", "NAMESPACE=video"), INSIDE)
    assert values["trigger"] == "redis"
    assert values["addresses"] == "ei-redis-svc.video.svc:6379"
    assert (values["database"], values["tls"]) == ("0", False)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("rediss://r.example/3", {"addresses": "r.example:6379", "database": "3", "tls": True}),
        (
            "redis+sentinel://a:26379,b:26379/main/1",
            {
                "trigger": "redis-sentinel",
                "address_key": "addresses",
                "addresses": "a:26379,b:26379",
                "sentinel_master": "main",
                "database": "1",
            },
        ),
        ("redis+sentinel://a,[fd00::1]/main", {"addresses": "a:26379,[fd00::1]:26379"}),
        ("redis+cluster://a:7000,b:7000", {"trigger": "redis-cluster", "database": ""}),
    ],
)
def test_keda_knows_every_kind_of_external_redis(url: str, expected: dict[str, str | bool]) -> None:
    values = keda_redis(options("--redis-url", url, "--broker-url", "redis://broker.example"), url)
    assert {key: values[key] for key in expected} == expected


def test_the_cpu_target_is_a_part_of_the_limit() -> None:
    assert (cpu_target("2"), cpu_target("500m")) == ("1400m", "350m")
    with pytest.raises(ManifestError, match="INFER_CPU_LIMIT=much"):
        cpu_target("much")
